"""Roles: named bundles of permissions, who has which, and who may therefore change whom."""
