"""What people do to their own account: prove an address, change or reset a password, leave."""
