import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { prepareEnvironment } from '../../services/environment.js'

t.test('the first variable of .env is read, whatever byte order mark and line ends the file has', async t => {
  const text = 'PORT=8080\r\nHOST=127.0.0.1\r\nJWT_PRIVATE_KEY="-----BEGIN X-----\r\nAA==\r\n-----END X-----"\r\n'
  for (const [name, bytes] of Object.entries({
    'UTF-8': Buffer.from(text),
    'UTF-8 with a mark': Buffer.from(`\uFEFF${text}`),
    'UTF-16LE': Buffer.from(`\uFEFF${text}`, 'utf16le'),
    'UTF-16BE': Buffer.from(`\uFEFF${text}`, 'utf16le').swap16()
  })) {
    const file = join(t.testdir(), '.env')
    writeFileSync(file, bytes)
    const env: Record<string, string | undefined> = {}
    prepareEnvironment(env, file)
    t.same(env, { PORT: '8080', HOST: '127.0.0.1', JWT_PRIVATE_KEY: '-----BEGIN X-----\nAA==\n-----END X-----' }, name)
  }
})

t.test(
  'the environment comes before .env, and has no white space around any value, also for libraries that read it',
  async t => {
    const file = join(t.testdir({ '.env': 'PORT=8080\nAWS_REGION=" us-east-1 "\n' }), '.env')
    const env: Record<string, string | undefined> = {
      PORT: '9090\n',
      AWS_SECRET_ACCESS_KEY: ' key\r\n',
      AWS_PROFILE: '\n',
      NODE_ENV: 'production\n',
      JWT_PRIVATE_KEY: 'a\nb\n'
    }
    prepareEnvironment(env, file)
    t.same(env, {
      PORT: '9090',
      AWS_SECRET_ACCESS_KEY: 'key',
      AWS_REGION: 'us-east-1',
      NODE_ENV: 'production',
      JWT_PRIVATE_KEY: 'a\nb'
    })
  }
)

t.test('an unreadable .env gives one sentence, and a missing one is fine', async t => {
  const folder = t.testdir({ '.env': {} })
  t.throws(() => prepareEnvironment({}, join(folder, '.env')), { message: /The file .*\.env cannot be read \(\w+\): let this user read it/ })
  t.doesNotThrow(() => prepareEnvironment({}, join(folder, 'none')))
})
