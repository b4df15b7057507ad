// The records that every program of the matrix writes, but for headers with a null value, which kafkajs refuses, and how
// what is read is compared with them.

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

const shown = value => (value === null ? 'null' : `${value.length} bytes '${value.subarray(0, 60)}'`)

function same(place, wanted, got) {
  const equal = wanted === null || got === null ? wanted === got : Buffer.compare(wanted, got) === 0
  demand(equal, `${place} is ${shown(got)}, not ${shown(wanted)}`)
}

/** Takes what a consumer reads, in the order of its partitions, and stops at the first difference. */
class Comparison {
  constructor(firstTimestamp) {
    this.expected = Array.from({ length: PARTITIONS }, () => [])
    for (const record of records(firstTimestamp)) this.expected[record.partition].push(record)
    this.read = Array(PARTITIONS).fill(0)
  }

  take(partition, { offset, key, value, headers, timestamp }) {
    const place = `partition ${partition}, offset ${offset}: `
    const at = this.read[partition]++
    demand(Number(offset) === at, `${place}came where ${at} was due`)
    const wanted = this.expected[partition][at]
    demand(wanted, `${place}more records than were written`)
    same(`${place}key`, wanted.key, key)
    same(`${place}value`, wanted.value, value)
    demand(wanted.timestamp === timestamp, `${place}timestamp is ${timestamp}, not ${wanted.timestamp}`)
    const names = Object.keys(wanted.headers)
    demand(names.join() === Object.keys(headers).join(), `${place}headers are ${Object.keys(headers)}`)
    for (const name of names) {
      const [want, got] = [wanted.headers[name], headers[name]].map(one => (Array.isArray(one) ? one : [one]))
      demand(want.length === got.length, `${place}${got.length} headers ${name}, not ${want.length}`)
      want.forEach((one, i) => same(`${place}header ${name}`, Buffer.from(one), got[i]))
    }
  }

  complete() {
    return this.read.every((count, partition) => count === this.expected[partition].length)
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

module.exports = { PARTITIONS, Comparison, records, demand, eventually }
