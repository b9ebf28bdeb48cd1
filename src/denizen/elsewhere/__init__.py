"""The accounts of an application whose Denizen runs elsewhere: the same dependencies, answered over HTTP."""
