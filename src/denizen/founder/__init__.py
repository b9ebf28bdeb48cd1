"""The first administrator: how somebody comes to an account that may do everything, without a default password."""
