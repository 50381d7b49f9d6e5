"""The base of this project's errors: their message is one sentence for the user that says what is
wrong and what to do.

StargateError
  EngineError            a model cannot be opened, or cannot do what was asked
  DeclarationError       something that people have written is wrong
    DataError            a data set cannot be used
    ExperimentError      an experiment's YAML says what cannot be
    PromptError          a prompt cannot be used
      TemplateFaultError what is wrong with its template, and in which line
    MachineError         machine.yaml says what cannot be
    ProjectError         what is declared does not fit together
  DiskError              the disk is full, or cannot be written
  CompletionStoreError   what models have answered cannot be read or written
  WarehouseError         a table cannot be read or written
    MissingSliceError    a slice was never materialised
  CheckpointError        a checkpoint is missing or damaged
  MissingPolicyError     a cell's policy is not trained yet
  MissingReferenceError  what a cell is compared with is not there
  TrainingError          training cannot start or must stop
  NothingEvaluatedError  there is no test cell to report on
  NotEvaluatedError      a policy that is to be compared has no test cell
  ExportError            what is to be exported is not there
  FailedCheckError       a check of what a run has made has failed
  DriverError            the command line asks for what is not there
"""


class StargateError(Exception):
    """Something that the user can mend."""


class DeclarationError(StargateError):
    """Something that people have written is wrong. The message names the place, so nobody needs a
    trace.
    """
