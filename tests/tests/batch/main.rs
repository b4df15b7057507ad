//! Our batch walk and builder beside two others: kafka-protocol's records module, on generated records in every
//! compression, and librdkafka, whose own bytes lie in `fixtures/`.

mod kafka_protocol_records;
mod librdkafka;
