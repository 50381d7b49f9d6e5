"""A data set's rows, from the user's files or the Hub to frames with ids and splits."""
