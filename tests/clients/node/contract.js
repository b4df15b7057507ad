// The records that every program of the matrix writes, but for headers with a null value, which kafkajs refuses.

const RECORDS = 10_000
const PARTITIONS = 3
const LARGE_BYTES = 900 * 1024
const BLOCK_BYTES = 1024 * 1024

/** Text that compresses to about a half, the same in every language. */
function block() {
  const text = Buffer.alloc(BLOCK_BYTES)
  let state = 1
  for (let at = 0; at < BLOCK_BYTES; at++) {
    state = (state * 16807) % 2147483647
    text[at] = 97 + (state % 16)
  }
  return text
}

function* records(firstTimestamp) {
  const text = block()
  for (let i = 0; i < RECORDS; i++) {
    const large = i % 500 === 250
    const length = large ? LARGE_BYTES : 20 + ((i * 37) % 980)
    const start = (i * 7919) % (BLOCK_BYTES - length)
    let value = text.subarray(start, start + length)
    if (!large && i % 11 < 2) value = i % 11 === 0 ? null : Buffer.alloc(0)
    const headers = i % 5 === 0 ? {} : { n: `${i}`, repeated: ['first', `second-${i}`], empty: '' }
    yield {
      partition: i % PARTITIONS,
      key: i % 7 === 0 ? null : i % 7 === 1 ? Buffer.alloc(0) : Buffer.from(`key-${i}`),
      value,
      headers,
      timestamp: `${firstTimestamp + i}`,
    }
  }
}

function demand(condition, sentence) {
  if (!condition) throw new Error(sentence)
}

/** Metadata may be told a little after the answer: `check` has ten seconds to hold. */
async function eventually(sentence, check) {
  const deadline = Date.now() + 10_000
  while (!(await check())) {
    demand(Date.now() < deadline, sentence)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

module.exports = { PARTITIONS, records, demand, eventually }
