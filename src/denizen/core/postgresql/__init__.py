"""PostgreSQL through psycopg 3, with deadlines that hold even when the server is frozen (ADR 0004).

Three things a plain engine does not do:

1. **A deadline that does not need the server.** Cancelling a psycopg query opens a second connection to ask the
   server to stop, and waits; with a frozen server `asyncio.timeout(2)` came back after 12 seconds. `GuardedConnection`
   instead closes its own socket when the time is over: the wait ends at once, and the pool drops the connection.
   Waiting for a connection of the pool, making it and using it share one budget, `DatabaseOptions.timeout`.
2. **No session state.** `statement_timeout` and read-only mode are given as start-up options, which belong to the
   connection for its whole life. PgBouncer, which lends one server connection to many clients, refuses such options
   (so that nothing can leak); then `Start.pooled` is set, the same is said inside each transaction (`SET LOCAL`), and
   nothing is prepared.
3. **No dead connections.** A server that restarts or fails over says goodbye to connections that lie idle in the
   pool. That is seen on their sockets before they are lent out, so that nobody's request has to fail of it.

`guarded` makes connections, `engines` their pools; `kept` is the shortest way for the hot path, and `backend` is what
`Database` sees.
"""
