import type { Service } from './service.js'

/** The log lines of an event, oldest first. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export const loggedEvents = ({ logs }: Pick<Service, 'logs'>, name: string): Array<Record<string, any>> =>
  logs.map(line => JSON.parse(line)).filter(({ event }) => event === name)

/** Those of a login's secrets that stand in the log: its phone's whole number, its codes, and others. */
export function leaksIn (
  { logs }: Pick<Service, 'logs'>,
  { phone, codes, others = [] }: { phone: string, codes: string[], others?: string[] }
): string[] {
  if (codes.length === 0) throw new Error('there is no code to look for')
  const all = logs.join('')
  return [
    ...codes.filter(code => new RegExp(`(?<![0-9a-z])${code}(?![0-9a-z])`, 'i').test(all)),
    ...[phone.slice(3), ...others].filter(secret => all.includes(secret))
  ]
}
