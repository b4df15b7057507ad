// A member of a group: kafkajs, which knows the classic protocol, eager rebalances and members without an instance.
// Its lines are described in tests/clients/README.md.

const fs = require('node:fs')
const readline = require('node:readline')
const { parseArgs } = require('node:util')
const { Kafka, logLevel } = require('kafkajs')
const { demand } = require('./contract')

/** One line in one write, so that a killed process leaves whole lines. */
const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`)

function arguments_() {
  const text = fallback => ({ type: 'string', default: fallback })
  const { values } = parseArgs({
    allowPositionals: true,
    options: {
      bootstrap: text(), topic: text(), group: text(), protocol: text('classic'), assignor: text(''),
      reset: text('earliest'), instance: text(''), 'session-ms': text('30000'), commit: text('none'),
    },
  })
  demand(values.protocol === 'classic', 'kafkajs knows the classic protocol only')
  demand(!values.instance, 'kafkajs knows no static members')
  demand(['earliest', 'latest'].includes(values.reset), `kafkajs has no reset ${values.reset}`)
  return values
}

async function main() {
  const args = arguments_()
  const { topic } = args
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [args.bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50 } })
  const sessionTimeout = Number(args['session-ms'])
  const consumer = kafka.consumer({
    groupId: args.group, sessionTimeout, heartbeatInterval: Math.min(500, sessionTimeout / 3), maxWaitTimeInMs: 100,
    rebalanceTimeout: 10_000,
  })
  let owned = []
  const processed = new Map()
  const give = word => {
    if (owned.length > 0) say(word, ...owned)
    owned = []
    processed.clear()
  }
  const offsets = () => [...processed].map(([partition, offset]) => ({ topic, partition, offset }))
  consumer.on(consumer.events.REBALANCING, () => give('revoked'))
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    give('revoked')
    owned = [...(payload.memberAssignment[topic] ?? [])].sort((one, other) => one - other)
    say('assigned', ...owned)
  })
  consumer.on(consumer.events.CRASH, ({ payload }) => say('error', payload.error.name))

  const commands = {
    commit: async () => consumer.commitOffsets(offsets()),
    seek: async (partition, offset) => consumer.seek({ topic, partition: Number(partition), offset }),
    pause: async (...partitions) => consumer.pause([{ topic, partitions: partitions.map(Number) }]),
    resume: async (...partitions) => consumer.resume([{ topic, partitions: partitions.map(Number) }]),
  }
  const answer = async (name, command) => {
    try {
      await command()
      say('done', name)
    } catch (error) {
      say('failed', name, error.type ?? error.name)
    }
  }
  const committed = async () => {
    const admin = kafka.admin()
    await admin.connect()
    const [found] = await admin.fetchOffsets({ groupId: args.group, topics: [topic] })
    say('committed', ...found.partitions.filter(one => Number(one.offset) >= 0).map(one => `${one.partition}:${one.offset}`))
    await admin.disconnect()
  }
  const input = readline.createInterface({ input: process.stdin })
  input.on('close', () => process.exit(0)) // whoever started this is gone
  input.on('line', async line => {
    const [name, ...words] = line.split(' ')
    if (name === 'close') {
      await consumer.disconnect()
      say('closed')
      process.exit(0)
    } else if (name === 'committed') {
      await committed()
    } else if (name === 'commit-async') {
      answer(name, commands.commit) // not waited for: the next command may come before its answer
    } else {
      await answer(name, () => commands[name](...words))
    }
  })

  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: args.reset === 'earliest' })
  say('ready')
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, isStale }) => {
      let run = null
      for (const { offset } of batch.messages) {
        if (isStale()) break
        if (run && BigInt(run[1]) + 1n === BigInt(offset)) run[1] = offset
        else {
          if (run) say('read', batch.partition, ...run)
          run = [offset, offset]
        }
        resolveOffset(offset)
      }
      if (!run) return
      say('read', batch.partition, ...run)
      processed.set(batch.partition, `${BigInt(run[1]) + 1n}`)
      if (args.commit === 'processed') await consumer.commitOffsets(offsets())
      await heartbeat()
    },
  })
}

main().catch(error => {
  say('error', error.name)
  console.error(error.message)
  process.exit(1)
})
