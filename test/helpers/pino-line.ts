import { pino } from 'pino'

/** The line that pino makes of the members of a line at the level `info`, at the same time. */
export function pinoLine (line: string): string {
  const { level, time, pid, hostname, reqId, ...members } = JSON.parse(line)
  let made = ''
  pino({ timestamp: () => `,"time":${time}` }, { write: text => { made += text } }).child({ reqId }).info(members)
  return made
}
