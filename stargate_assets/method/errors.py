"""The base of this project's errors: their message is one sentence for the user that says what is
wrong and what to do.

StargateError
  EngineError         a model cannot be opened, or cannot do what was asked     language_model.py
  DataError           a data set cannot be used                                 data_set.py
  WarehouseError      a table cannot be read or written                         storage/warehouse.py
    MissingSliceError   nobody has materialised the slice                       storage/warehouse.py
  CheckpointError     a checkpoint is missing or damaged
storage/checkpoints.py
  MissingPolicyError  a cell's policy is not trained yet                        assets/grid.py
  MissingReferenceError  what a cell is compared with is not there              assets/grid.py
  NothingEvaluatedError  no test cell to report on                              assets/evaluation.py
  ExperimentError     an experiment's YAML says what cannot be                   experiment.py
  TrainingError       training cannot start or must stop                        training/spec.py
  ProjectError        what is declared does not fit together                    declarations.py
  DriverError         the command line asks for what is not there               driver.py
"""


class StargateError(Exception):
    """Something that the user can mend."""
