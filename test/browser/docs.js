/** The page at /docs, as a newcomer uses it: signs in, uploads two files, creates a user after a 400. */
import { deepStrictEqual as same, match } from 'node:assert'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startService } from './service.js'

const NUMBER = '+919876543210' // the example of the page
const OTHER = '+919876543211'
const GIF = Buffer.from('R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=', 'base64')

export async function operateDocs (browser, shoot) {
  const service = await startService()
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } })
    page.setDefaultTimeout(120_000)
    await operate(page, service)
    await shoot(page, 'docs')
  } finally {
    await service.stop()
  }
}

async function operate (page, service) {
  const { url, folder } = service
  const problems = []
  page.on('pageerror', (error) => problems.push(error.message))
  await page.goto(`${url}/docs`)

  const verify = await open(page, 'verifyOtp')
  await verify.locator('textarea').fill(JSON.stringify({ phone: NUMBER, otp: '000000' }))
  same(await execute(verify), [200, { success: false, message: 'Invalid OTP' }])
  const token = await service.signIn(NUMBER)
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
