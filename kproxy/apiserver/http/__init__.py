"""The API on sockets: TLS, tokens, time, and the thread they live in; everything else is the core.

    connection -> HttpsServer (asyncio, one thread) -> ApiServer.handle -> Answer, Watch: sent
                                                    -> Work: in the one thread for writes
                                                    -> Upgrade: Streams, the pods' side

Connections, bodies, headers and what a client does not read are bounded.
"""
