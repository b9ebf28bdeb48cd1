"""Pages for people without a program: what links in letters lead to, forms included."""
