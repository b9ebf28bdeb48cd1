"""A users database as the FastAPI tutorial teaches it: `def` endpoints, a session for each request, the ORM, a fake hash.

    uvicorn benchmarks.peers.tutorial.main:app

Nothing in it is tuned and nothing is held back: it is what a team has on the day after the tutorial, on the library versions
that Denizen itself runs on.
"""
