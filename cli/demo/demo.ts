import { buildApp } from '../../app.js'
import { startEmulators } from '../../backing-services.js'
import type { Config } from '../../schemas/env.js'
import { completeConfig, hasConsole, readConfig, sendsRealTexts } from '../../services/config.js'
import type { AppSettings } from '../../services/ports.js'
import { Misuse, type Call } from '../program.js'
import { MODERATOR, PEOPLE, PICTURES, type Picture } from './content.js'
import { fill } from './fill.js'
import { createInbox } from './visitor.js'

const USAGE = 'Usage: npm run demo'

/** A test replaces the clock, the waits and the pictures. */
export interface Replaced extends Pick<AppSettings, 'now'> {
  pass?: (seconds: number) => Promise<void>
  pictures?: Picture[]
}

/**
 * Adds what the demo lacks: three users, their pictures and some reports. Uses the emulators of the process that uses
 * DATA_DIR, or starts them for this time, or uses what the environment names. Exit codes: 0 done, 1 failed or in
 * production, 2 misused.
 */
export async function demoCommand (
  { args, env, print, progress }: Call,
  { now, pass, pictures = PICTURES }: Replaced = {}
): Promise<number> {
  if (args.length > 0) throw new Misuse(USAGE)
  if (env.NODE_ENV === 'production') {
    throw new Error('The demo refuses to run with NODE_ENV=production: its users and pictures are for trying the service only')
  }
  const config = readConfig(env)
  const emulators = await startEmulators(config, { join: true })
  try {
    const inbox = createInbox()
    const app = await buildApp({
      config: forDemo(completeConfig(config, emulators.env)),
      sendSms: inbox.take,
      ...(now && { now }),
      logger: { level: 'error', stream: process.stderr }
    })
    try {
      print(await fill({ app, pictures, inbox, pass, print, progress }))
    } finally {
      await app.close()
    }
  } finally {
    await emulators.close()
  }
  for (const line of nextSteps(config)) print(line)
  return 0
}

/** No SMS and no message to moderators leaves the process, and it does nothing but the demo. */
const forDemo = (config: Config): Config => ({
  ...config,
  SMS_PROVIDER: 'console',
  OTP_TEST_NUMBERS: undefined,
  SWEEP_INTERVAL_SECONDS: 0,
  OTEL_EXPORTER_OTLP_ENDPOINT: undefined,
  MODERATION_WEBHOOK_URL: undefined
})

function nextSteps (config: ReturnType<typeof readConfig>): string[] {
  const numbers = PEOPLE.map(({ username, number }) => `${number} (${username})`)
  const address = `http://localhost:${config.PORT}/`
  return [
    `These numbers can sign in: ${numbers.join(', ')}.`,
    sendsRealTexts(config)
      ? 'No SMS reaches them. Name them in OTP_TEST_NUMBERS, or start the service with SMS_PROVIDER=console.'
      : 'The service prints the code where it runs, in place of an SMS.',
    'Maya sees every picture. The lists of Tom and Lena leave out what they have reported.',
    `Next: run npm start, if it does not run yet${hasConsole(config) ? `, and open ${address}` : ''}.`,
    `To see the reports, stop the service, run ADMIN_NUMBERS=${MODERATOR} npm start, and sign in with that number.`
  ]
}
