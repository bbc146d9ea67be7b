import http from 'node:http'
import { environment } from './harness/environment.js'
import { hugePng, largePictures, pngOf6Megabytes } from './harness/files.js'
import { start } from './harness/processes.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'
import { upload } from './harness/send.js'
import { signToken } from './harness/token.js'

const FLOOR = { name: 'parse, hash, discard (the floor)', program: 'floor.js' }
const SERVICE = { name: 'the service, without image work', program: 'service.js', env: { IMAGES: 'off' } }
const DECODING = { name: 'the service', program: 'service.js' }
const UPLOAD = { name: '`Upload` as it comes', program: 'lib-storage.js' }
const EXPRESS = { name: 'Express 5 + multer', program: 'express.js', env: { IMAGES: 'off' } }
const WAYS = [FLOOR, SERVICE, UPLOAD, EXPRESS]

/**
 * Files sent before the measurement starts. Compiling the code and filling the pools costs once for each process, and
 * is not part of an upload's cost.
 */
const WARM_UP = 60

/** CPU, throughput and memory of uploads, in the service and in the servers it is compared with. */
export async function uploads ({ quick, only }) {
  const sink = await start('s3-sink.js')
  const mongo = process.env.MONGO_URI ? undefined : await start('mongo.js')
  const stores = {
    sink,
    warm: await pngOf6Megabytes(),
    env: environment({ mongoUri: process.env.MONGO_URI ?? mongo.uri, endpoint: sink.endpoint }),
    rounds: quick ? 2 : 5
  }
  const mixed = await largePictures()
  const scenarios = [
    ...mixed.map(file => ({
      name: `1 × 20 MB, ${file.name}`,
      files: [file],
      count: quick ? 2 : 5,
      atOnce: 1,
      most: 15
    })),
    { name: '10 × 20 MB at once, all kinds', files: mixed, count: 10, atOnce: 10, most: 2 },
    { name: '50 × 20 MB at once, all kinds', files: mixed, count: 50, atOnce: 50, most: 2 },
    ...(quick ? [] : [{ name: '1 × 1 GB, PNG', files: [hugePng()], count: 1, atOnce: 1, most: 15 }])
  ]
  for (const scenario of scenarios.filter(({ name }) => name.includes(only))) {
    judge(await measure(stores, scenario, WAYS), scenario.most)
  }
  const decoded = mixed.map(file => ({
    name: `4 × 20 MB at once, ${file.name}, with and without image work`,
    files: [file],
    count: 4,
    atOnce: 4
  }))
  const keeper = await start('s3-sink.js', { env: { KEEP: 'on' } })
  const keeping = { ...stores, sink: keeper, env: { ...stores.env, S3_ENDPOINT: keeper.endpoint } }
  for (const scenario of decoded.filter(({ name }) => name.includes(only))) {
    imageWork(await measure(keeping, scenario, [SERVICE, DECODING]))
  }
  await Promise.all([sink.stop(), keeper.stop(), mongo?.stop()])
}

/** Sends `count` files, `atOnce` at a time, to each way in turn, and prints the cost. */
async function measure ({ sink, warm, env, rounds }, { name, files, count, atOnce }, ways) {
  const limit = Math.max(...files.map(({ size }) => size)) + 1
  const servers = []
  for (const { program, env: own } of ways) {
    const server = await start(program, { measured: true, env: { ...env, UPLOAD_MAX_BYTES: String(limit), ...own } })
    servers.push({ token: signToken(env.JWT_SECRET_KEY, '000000000000000000000000'), ...server })
  }
  const idle = []
  for (const server of servers) {
    await send(server, [warm], WARM_UP, 1)
    idle.push(await server.reset())
  }
  const sent = Array.from({ length: count }, (_, i) => files[i % files.length].size).reduce((sum, size) => sum + size)
  const runs = await interleaved(rounds, servers, async server => {
    const [before, had] = [await server.usage(), await sink.usage()]
    const began = performance.now()
    await send(server, files, count, atOnce)
    const seconds = (performance.now() - began) / 1000
    const [after, has] = [await server.usage(), await sink.usage()]
    if (server !== servers[ways.indexOf(FLOOR)] && has.received - had.received < sent) {
      throw new Error('not all bytes arrived at the store')
    }
    return { cpu: (after.cpuSeconds - before.cpuSeconds) / (sent / 1e9), speed: sent / 1e6 / seconds, peak: after.peak }
  })
  const held = []
  for (const [i, server] of servers.entries()) held.push(await memoryHeld(server, files, count, atOnce) - idle[i].live)
  await Promise.all(servers.map(server => server.stop()))
  const figures = runs.map((list, i) => ({
    cpu: list.map(({ cpu }) => cpu),
    speed: list.map(({ speed }) => speed),
    memory: (Math.max(...list.map(({ peak }) => peak)) - idle[i].memory) / atOnce / 1e6,
    held: held[i] / atOnce / 1e6
  }))
  printTable(
    `${name} (${rounds} rounds)`,
    ['way', 'CPU s/GB', '× first', 'throughput × first', 'memory for each, MB', 'of it no garbage, MB'],
    ways.map(({ name }, i) => [
      name,
      median(figures[i].cpu).toFixed(2),
      ratio(figures[i].cpu, figures[0].cpu).toFixed(2),
      ratio(figures[i].speed, figures[0].speed).toFixed(2),
      figures[i].memory.toFixed(1),
      figures[i].held.toFixed(1)
    ])
  )
  return { figures, of: way => figures[ways.indexOf(way)], bytes: files[0].size }
}

/** The most memory that a process holds during uploads, in bytes, without garbage. */
async function memoryHeld (server, files, count, atOnce) {
  await server.watch()
  await send(server, files, count, atOnce)
  return (await server.usage()).held
}

/** Sends each file by a request of its own. The service's answer must name the hash of the sent bytes. */
async function send (server, files, count, atOnce) {
  const agent = new http.Agent({ keepAlive: true })
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < count) {
      const file = files[next++ % files.length]
      const { sha256 } = await upload(server, file, agent)
      if (sha256 !== undefined && sha256 !== file.sha256) {
        throw new Error('the service stored other bytes than it was sent')
      }
    }
  }))
  agent.destroy()
}

function judge ({ of }, mostMegabytes) {
  const [floor, service, asItComes] = [of(FLOOR), of(SERVICE), of(UPLOAD)]
  const [toFloor, toUpload] = [ratio(service.cpu, floor.cpu), ratio(service.cpu, asItComes.cpu)]
  console.log()
  printGoal(toFloor <= 1.1, `CPU ${toFloor.toFixed(2)} × floor (goal: at most 1.10)`)
  printGoal(toUpload <= 1 / 3, `CPU ${toUpload.toFixed(2)} × \`Upload\` as it comes (goal: at most 0.33)`)
  printGoal(
    service.memory <= mostMegabytes,
    `memory for each upload ${service.memory.toFixed(1)} MB (goal: at most ${mostMegabytes} MB)`
  )
}

function imageWork ({ of, bytes }) {
  const [without, decoding] = [of(SERVICE), of(DECODING)]
  const milliseconds = (median(decoding.cpu) - median(without.cpu)) * bytes / 1e6
  console.log(
    `\n        image work: ${milliseconds.toFixed(0)} ms of CPU and ${(decoding.memory - without.memory).toFixed(1)} MB more for each file of ${(bytes / 1e6).toFixed(1)} MB`
  )
}
