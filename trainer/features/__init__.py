"""From raw columns and pixels to the numbers of the network, fitted on the training rows."""
