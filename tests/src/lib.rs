//! What the suites share: in-process brokers, broker processes, and clients in other languages.
