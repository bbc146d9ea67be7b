import { prettyFactory } from 'pino-pretty'

const pretty = prettyFactory({
  ignore: 'pid,hostname,reqId',
  translateTime: 'HH:MM:ss.l',
  singleLine: true,
  colorize: process.stdout.hasColors()
})

/** A line of the log for a person at a terminal: coloured and short. An error has its stack below. */
export function toTerminalLine (line: string): string {
  const { level, time, ...entry } = JSON.parse(line)
  return pretty({ level, time, ...toShort(entry) })
}

function toShort (entry: Record<string, unknown>): object {
  const { event, ...others } = entry
  const { method, route, status, bytes, ms, msg } = others
  if (event === 'request.finished') return { msg: `${method} ${route} ${status}, ${bytes} bytes, ${ms} ms` }
  if (event === 'request.aborted') return { msg: `${method} ${route}: the client left after ${ms} ms` }
  return msg === undefined ? { ...others, msg: event } : entry
}
