"""What the dock widget's tabs hold: each a panel on a `VotingModel` and the stage of its viewer."""
