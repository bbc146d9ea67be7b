/**
 * Operates the page at /docs in a headless Chromium, as a newcomer would: signs in, uploads two files, creates a user
 * after a 400.
 *
 *   npm run test:browser [-- --screenshot FILE]
 *
 * Without Chromium the page is not tried; the script says so, and does not fail.
 */
import { spawn } from 'node:child_process'
import { deepStrictEqual as same, match } from 'node:assert'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'

const root = fileURLToPath(new URL('../..', import.meta.url))
const NUMBER = '+919876543210' // the example of the page
const OTHER = '+919876543211'
const GIF = Buffer.from('R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=', 'base64')

const { values: { screenshot } } = parseArgs({ options: { screenshot: { type: 'string' } } })
const executablePath = process.env.CHROMIUM ??
  ['chromium', 'chromium-browser', 'google-chrome']
    .flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name)))
    .find(
      existsSync
    )
if (executablePath) await main()
else {
  console.log(
    'NOT TRIED: the page at /docs, because there is no Chromium here (chromium, chromium-browser or google-chrome)'
  )
}

async function main () {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-browser-'))
  const service = await startService(folder)
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } })
    page.setDefaultTimeout(120_000)
    await operate(page, service.url, folder)
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true })
  } finally {
    await browser.close()
    service.child.kill()
    await once(service.child, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
}

async function operate (page, url, folder) {
  const problems = []
  page.on('pageerror', (error) => problems.push(error.message))
  await page.goto(`${url}/docs`)

  const verify = await open(page, 'verifyOtp')
  await verify.locator('textarea').fill(JSON.stringify({ phone: NUMBER, otp: '000000' }))
  same(await execute(verify), [200, { success: false, message: 'Invalid OTP' }])
  const { access_token: token } = await signIn(url, NUMBER)
  await page.locator('.btn.authorize').first().click()
  await page.locator('.modal-ux input').fill(token)
  await page.locator('.modal-ux button.authorize').click()
  await page.locator('.modal-ux button.btn-done').click()
  console.log('ok: signs in')

  const upload = await open(page, 'uploadFile')
  same(await keyOf(upload), '', 'no Idempotency-Key is filled in')
  const fields = {}
  for (const name of ['user_id', 'category', 'title', 'type', 'fit']) fields[name] = await fieldOf(upload, name)
  for (const [name, value] of Object.entries(fields)) {
    if (value === 'string') throw new Error(`${name} is filled in with "string"`)
  }
  const ids = []
  for (const name of ['one.gif', 'two.gif']) {
    await writeFile(join(folder, name), GIF)
    await upload.locator('input[type=file]').setInputFiles(join(folder, name))
    const [status, body] = await execute(upload)
    same([status, body.message, body.user_id], [201, 'File uploaded', fields.user_id], JSON.stringify(body))
    ids.push(body.id)
  }
  same(new Set(ids).size, 2, 'two uploads make two items')
  console.log('ok: uploads two files')

  const create = await open(page, 'createUser')
  same(await keyOf(create), '')
  match(await create.locator('textarea').inputValue(), /"meera"/)
  await create.locator('textarea').fill(JSON.stringify({ username: '', number: NUMBER }))
  same((await execute(create))[0], 400)
  await create.locator('textarea').fill(JSON.stringify({ username: 'meera', number: NUMBER }))
  const [status, created] = await execute(create)
  same([status, created.message], [201, 'User created'])
  await create.locator('textarea').fill(JSON.stringify({ username: 'leila', number: OTHER }))
  same((await execute(create))[0], 403)
  console.log('ok: creates a user after a 400')
  same(problems, [])
}

/** Opens an operation and makes it ready to be tried out. */
async function open (page, operationId) {
  const block = page.locator(`[id$="-${operationId}"]`)
  await block.locator('.opblock-summary-control').click()
  await block.locator('.try-out__btn').click()
  return block
}

/** Executes an operation; gives the status and the body that the page shows. */
async function execute (block) {
  const answer = block.page().waitForResponse((response) =>
    ['xhr', 'fetch'].includes(response.request().resourceType()))
  await block.locator('button.execute').click()
  const response = await answer
  await block
    .locator('.live-responses-table .response-col_status', { hasText: String(response.status()) })
    .first()
    .waitFor()
  return [response.status(), await response.json()]
}

function keyOf (block) {
  return block.locator('tr[data-param-name="Idempotency-Key"] input').inputValue()
}

async function fieldOf (block, name) {
  const row = block.locator(`.parameters[data-property-name="${name}"]`)
  return await row.locator('select').count() > 0
    ? row.locator('select').inputValue()
    : row.locator('input[type=text]').inputValue()
}

/** Signs in as an app would, with the code of the SMS that the console provider prints. */
async function signIn (url, phone) {
  const post = async (path, body) => (await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })).json()
  await post('/auth/request-otp', { phone })
  return post('/auth/verify-otp', { phone, otp: '123456' })
}

/** Starts the built service with default settings and an empty data folder. Resolves when it is ready. */
async function startService (folder) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, [join(root, 'dist/server.js')], {
    cwd: folder,
    env: { PATH, HOME, PORT: String(port), DATA_DIR: join(folder, 'data'), OTP_TEST_NUMBERS: `${NUMBER}:123456` },
    stdio: ['ignore', 'ignore', 'inherit']
  })
  const url = `http://127.0.0.1:${port}`
  while (!await fetch(`${url}/health/ready`).then(({ ok }) => ok, () => false)) {
    if (child.exitCode !== null) throw new Error('the service did not start')
    await sleep(100)
  }
  return { url, child }
}
