"""The theory of GANs checked by numbers: densities, the game's quantities, findings, their page."""
