// kafkajs. It reads as the only member of a group, for it can read in no other way.

const { parseArgs } = require('node:util')
const zstd = require('@bokuweb/zstd-wasm')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { PARTITIONS, Comparison, records, demand, eventually } = require('./contract')

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})
const COMPRESSIONS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const BATCH_RECORDS = 400
const SECONDS_MAX = 60

async function create(kafka, { topic }) {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({
    topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }],
    waitForLeaders: false, // it gives up where it should ask again
  })
  await admin.disconnect()
}

async function produce(kafka, { topic, compression, 'first-timestamp': firstTimestamp }) {
  demand(compression in COMPRESSIONS, `no compression ${compression}`)
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const next = Array(PARTITIONS).fill(0)
  const send = async batch => {
    const counts = Array(PARTITIONS).fill(0)
    for (const { partition } of batch) counts[partition]++
    const answers = await producer.send({ topic, acks: -1, compression: COMPRESSIONS[compression], messages: batch })
    for (const { partition, errorCode, baseOffset } of answers) {
      demand(errorCode === 0, `partition ${partition} answered with error ${errorCode}`)
      demand(Number(baseOffset) === next[partition], `acknowledged as offset ${baseOffset}, not ${next[partition]}`)
      next[partition] += counts[partition]
    }
  }
  // A batch goes out as it was given, so a large record goes alone: two would exceed the broker's limit.
  let batch = []
  for (const record of records(Number(firstTimestamp))) {
    if (record.value?.length > 100_000) {
      await send(batch)
      await send([record])
      batch = []
    } else if (batch.push(record) === BATCH_RECORDS) {
      await send(batch)
      batch = []
    }
  }
  if (batch.length > 0) await send(batch)
  await producer.disconnect()
}

async function verify(kafka, { topic, 'first-timestamp': firstTimestamp }) {
  const comparison = new Comparison(Number(firstTimestamp))
  const consumer = kafka.consumer({ groupId: `${topic}-verify`, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  let failure = null
  await consumer.run({
    eachBatch: async ({ batch, resolveOffset }) => {
      try {
        for (const message of failure ? [] : batch.messages) {
          comparison.take(batch.partition, message)
          resolveOffset(message.offset)
        }
      } catch (difference) {
        failure = difference
      }
    },
  })
  const deadline = Date.now() + SECONDS_MAX * 1000
  while (!failure && !comparison.complete() && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 20))
  await consumer.disconnect()
  if (failure) throw failure
  demand(comparison.complete(), `read ${comparison.read} records of the partitions in ${SECONDS_MAX} s`)
  const admin = kafka.admin()
  await admin.connect()
  const [{ partitions }] = await admin.fetchOffsets({ groupId: `${topic}-verify`, topics: [topic] })
  const committed = Array(PARTITIONS).fill(-1)
  for (const { partition, offset } of partitions) committed[partition] = Number(offset)
  demand(committed.join() === comparison.read.join(), `committed ${committed}, not ${comparison.read}`)
  await admin.disconnect()
}

async function administer(kafka, { topic }) {
  const admin = kafka.admin()
  await admin.connect()
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  const listed = async () => (await admin.listTopics()).includes(topic)
  const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  const retention = async () => {
    const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
    return resources[0].configEntries.find(entry => entry.configName === 'retention.ms').configValue
  }
  const alter = value =>
    admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: value }] })
  const refused = async (type, call) => {
    try {
      await call()
      return false
    } catch (error) {
      return [error, ...(error.errors ?? []), error.cause].some(found => found?.type === type)
    }
  }
  const topics = [
    { topic, numPartitions: 3, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '3600000' }] },
  ]

  demand((await admin.describeCluster()).brokers.length >= 1, 'no broker is listed')
  await admin.createTopics({ topics, validateOnly: true, waitForLeaders: false })
  demand(!(await listed()), 'validateOnly created the topic')
  demand(await admin.createTopics({ topics, waitForLeaders: false }), 'the topic was not created')
  await eventually('the new topic is not listed', listed)
  // kafkajs answers `false` for a topic that exists.
  demand(!(await admin.createTopics({ topics, waitForLeaders: false })), 'the topic could be created twice')
  demand((await partitions()) === 3, 'the topic has not 3 partitions')
  demand((await retention()) === '3600000', 'retention.ms was not kept at creation')
  await alter([{ name: 'retention.ms', value: '7200000' }])
  await eventually('retention.ms was not altered', async () => (await retention()) === '7200000')
  const soon = () => alter([{ name: 'retention.ms', value: 'soon' }])
  demand(await refused('INVALID_CONFIG', soon), 'a retention.ms of `soon` was not refused')
  await alter([])
  await eventually('retention.ms is not the default again', async () => (await retention()) === '604800000')
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  await eventually('the topic has not 5 partitions', async () => (await partitions()) === 5)
  const fewer = () => admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
  demand(await refused('INVALID_PARTITIONS', fewer), 'partitions could be taken away')
  await admin.deleteTopics({ topics: [topic] })
  await eventually('the deleted topic is still listed', async () => !(await listed()))
  const gone = () => admin.deleteTopics({ topics: [topic] })
  demand(await refused('UNKNOWN_TOPIC_OR_PARTITION', gone), 'an unknown topic could be deleted')
  await admin.disconnect()
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      bootstrap: { type: 'string' },
      topic: { type: 'string' },
      compression: { type: 'string', default: 'none' },
      'first-timestamp': { type: 'string', default: '1700000000000' },
    },
  })
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [values.bootstrap], logLevel: logLevel.NOTHING })
  await zstd.init()
  if (positionals[0] === 'produce') {
    await create(kafka, values)
    await produce(kafka, values)
  } else if (positionals[0] === 'verify') {
    await verify(kafka, values)
  } else if (positionals[0] === 'roundtrip') {
    await create(kafka, values)
    await produce(kafka, values)
    await verify(kafka, values)
  } else if (positionals[0] === 'admin') {
    await administer(kafka, values)
  } else {
    throw new Error(`no action ${positionals[0]}`)
  }
}

main().catch(error => {
  console.error(error.message)
  process.exit(1)
})
