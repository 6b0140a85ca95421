"""What a hand touches: the controls, and a panel for each question one asks."""
