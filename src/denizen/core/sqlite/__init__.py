"""SQLite without a thread hop for short reads: `driver` runs statements, `dialect` shows that to SQLAlchemy (ADR
0002).
"""
