"""Applications that Denizen is measured against, each written for this purpose and run in a process of its own."""
