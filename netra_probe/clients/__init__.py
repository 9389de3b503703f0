"""The wire: auth, backend, websocket, database and cache. Each client records what it does and returns values."""
