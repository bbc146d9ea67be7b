/** The console, as a newcomer and a moderator use it. Nothing sleeps: every step waits for what the page shows. */
import { deepStrictEqual as same, match, ok } from 'node:assert'
import axe from 'axe-core'
import { PNG } from 'pngjs'
import { startService } from './service.js'

const ADMIN = '+919876543210'
const OWNER = '+919876543211'
const READER = '+919876543212'
const NEWCOMER = '+919876543213'
/** Three frames of 100, 50 and 200 ms: a red LED that moves. */
const GIF = Buffer.from('R0lGODlhAgACAIEAAP8AAAAAAAAAAAAAACH/C05FVFNDQVBFMi4wAwEAAAAh+QQACgAAACwAAAAAAgACAAAIBgABCAQQEAAh+QQBBQABACwAAAAAAgACAIEA/wAAAAAAAAAAAAAIBgABCAQQEAAh+QQBFAABACwAAAAAAgACAIEAAP8AAAAAAAAAAAAIBgABCAQQEAA7', 'base64')
const QUEUE = 20
const TIMEOUT_MS = 120_000
const PHONE_WIDTH = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }
const APPEARANCES = { light: {}, dark: { colorScheme: 'dark' }, phone: PHONE_WIDTH }

/** The address of a picture in the store. */
const STORED = /^http:\/\/[\d.:]+\/[\w/-]*library\/[\da-f-]{36}\/[\w.-]+$/

/**
 * A browser writes a line for each answer of the API of 400 and above, which the page shows to the person, and for each
 * request while it is offline.
 */
function isRefusal (message) {
  if (/ERR_INTERNET_DISCONNECTED/.test(message.text())) return true
  const { pathname } = new URL(message.location().url || 'http://nowhere')
  return /^Failed to load resource/.test(message.text()) && /^\/(auth|users|library)\b|\/64x64\.gif$/.test(pathname)
}

export async function operateConsole (browser, shoot) {
  const scenarios = [
    newcomer, expiredSession, twoTabs, failedUploads, neighbours, moderator, otherBrowsers, appearance
  ]
  for (const scenario of scenarios) {
    const service = await startService(scenario === newcomer ? {} : { ADMIN_NUMBERS: ADMIN })
    const contexts = []
    const problems = []
    const open = async ({ ownClock = false, ...options } = {}) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options })
      contexts.push(context)
      const page = await context.newPage()
      page.setDefaultTimeout(TIMEOUT_MS)
      page.on('pageerror', error => problems.push(error.stack))
      page.on('console', message => {
        if (message.type() === 'error' && !isRefusal(message)) problems.push(`${message.text()} ${message.location().url}`)
      })
      page.on('request', request => {
        const url = request.url()
        if (!url.startsWith(service.url) && !STORED.test(url)) problems.push(`a request to ${url}`)
      })
      if (ownClock) await page.clock.install()
      await page.goto(service.url)
      return page
    }
    try {
      await scenario({ service, open, shoot })
      same(problems, [], 'no errors in the browser console')
      console.log(`ok: ${scenario.name}`)
    } finally {
      for (const context of contexts) await context.close()
      await service.stop()
    }
  }
}

/** The first minute on defaults: the code is the one that the process prints. */
async function newcomer ({ service, open, shoot }) {
  const page = await open()
  await page.getByLabel('Phone number').fill('12')
  await page.getByRole('button', { name: 'Send code' }).click()
  await said(page, /Phone number: Not a valid phone number\./)
  await signIn(page, service, NEWCOMER, async () => {
    await page.getByText('The code is printed in the terminal of npm start').waitFor()
    await page.getByLabel('Code of the SMS').fill('12')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await said(page, /This code is not right/)
  })
  await page.getByText('The library is empty.').waitFor()
  await shoot(page, 'empty')
  await page.getByRole('link', { name: 'Upload the first picture' }).click()
  await choose(page, GIF)
  await page.getByText(`three.gif, ${GIF.length} bytes`).waitFor()
  for (const i of [0, 1, 2]) await plays(page.locator('.fit canvas').nth(i))
  await page.getByRole('textbox', { name: 'Title' }).fill('<img src=x onerror=alert(1)>')
  await page.locator('.fit label', { hasText: 'Filled' }).click()
  await shoot(page, 'upload')
  const uploaded = page.waitForResponse(response => response.url().endsWith('/library/upload'))
  await page.getByRole('button', { name: 'Upload', exact: true }).click()
  const item = await (await uploaded).json()
  const { bytes, ble_seconds: seconds } = item.renditions['64x64']
  await said(page, new RegExp(`is uploaded: ${bytes} bytes, ${seconds} s to the bag`))
  same([item.user_id, item.title], [item.owner_id, '<img src=x onerror=alert(1)>'], 'the label of an account without a name is its id')
  await page.getByRole('link', { name: 'See it in the library' }).click()
  await page.getByRole('button', { name: '<img src=x' }).waitFor()
  await page.getByText('Somebody without a name').waitFor()
  await plays(page.locator('.card canvas'))
  same(await page.locator('img[src=x]').count(), 0)
  await page.getByRole('link', { name: 'Account' }).click()
  await page.getByLabel('Name').fill('meera')
  await page.getByRole('button', { name: 'Save the name' }).click()
  await said(page, /Your name is meera\./)
  await page.reload()
  await page.locator('.who', { hasText: 'meera' }).waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await said(page, /You are signed out\./)
  await page.getByLabel('Phone number').waitFor()
}

/** The session ends while a form is filled in. */
async function expiredSession ({ service, open, shoot }) {
  const page = await open()
  await signIn(page, service, NEWCOMER)
  await page.getByRole('link', { name: 'Upload', exact: true }).click()
  await choose(page, GIF)
  const title = page.getByRole('textbox', { name: 'Title' })
  await title.fill('Kept')
  const { token } = JSON.parse(await page.evaluate(() => localStorage.getItem('hookaba.session')))
  same((await service.call('POST', '/auth/logout', { token, json: {} })).status, 204)
  await page.getByRole('button', { name: 'Upload', exact: true }).click()
  const dialog = page.getByRole('dialog', { name: 'Sign in again' })
  await dialog.getByText('Your session has ended. What you typed is still here.').waitFor()
  for (let i = 0; i < 3; i++) await page.keyboard.press('Escape') // a browser lets no page refuse the second one
  await dialog.getByLabel('Phone number').waitFor()
  await accessible(page, 'sign in again')
  await shoot(page, 'expired')
  await enterCode(dialog, service, NEWCOMER)
  await dialog.waitFor({ state: 'hidden' })
  same(await title.inputValue(), 'Kept')
  await page.getByRole('button', { name: 'Upload', exact: true }).click()
  await said(page, /^Kept is uploaded/)

  const { token: next } = JSON.parse(await page.evaluate(() => localStorage.getItem('hookaba.session')))
  same((await service.call('POST', '/auth/logout', { token: next, json: { scope: 'all' } })).status, 204)
  await page.reload()
  await said(page, /Your session has ended/)
  await signIn(page, service, NEWCOMER)
  await page.getByRole('link', { name: 'Library', exact: true }).click()
  await page.getByRole('button', { name: 'Kept' }).waitFor()
}

/** Two tabs of one browser, and an answer that comes too late. */
async function twoTabs ({ service, open }) {
  const owner = await service.signIn(OWNER)
  await service.upload(owner, GIF, { user_id: 'leila', title: 'Kept' })
  const page = await open()
  await signIn(page, service, READER)
  const other = await page.context().newPage()
  await other.goto(service.url)
  await other.getByRole('button', { name: 'Kept' }).click()
  await page.getByRole('link', { name: 'Account' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await said(page, /You are signed out/)
  const there = other.getByRole('dialog', { name: 'Sign in again' })
  await there.getByLabel('Phone number').waitFor()
  await signIn(page, service, READER)
  await there.waitFor({ state: 'hidden' })
  let answer
  await page.route('**/library?*', route => new Promise(resolve => {
    answer = () => resolve(route.fulfill({ status: 401, json: { error: 'Unauthorized' } }))
  }), { times: 1 })
  const late = page.waitForResponse(response => response.status() === 401)
  await page.getByRole('link', { name: 'Library', exact: true }).click()
  await page.getByRole('link', { name: 'Account' }).click()
  await page.getByText('This one').waitFor()
  await page.evaluate(() => {
    const session = JSON.parse(localStorage.getItem('hookaba.session'))
    localStorage.setItem('hookaba.session', JSON.stringify({ ...session, token: `${session.token}2` }))
  })
  answer()
  await late
  await said(page, /Your session has ended/)
  same(await page.getByRole('dialog', { name: 'Sign in again' }).count(), 0)
  await page.evaluate(() => localStorage.removeItem('hookaba.session'))
  await other.getByRole('button', { name: 'Leave' }).click()
  await other.getByRole('heading', { name: 'Pictures for the bag' }).waitFor()
  same(await other.getByRole('dialog').count(), 0)
  await signIn(other, service, NEWCOMER)
  await page.locator('.who', { hasText: NEWCOMER }).waitFor()
}

/** The server refuses a file, the connection is cut, the server is busy: nothing that was chosen is lost. */
async function failedUploads ({ service, open }) {
  const page = await open()
  await signIn(page, service, NEWCOMER)
  await page.getByRole('link', { name: 'Upload', exact: true }).click()
  const send = page.getByRole('button', { name: 'Upload', exact: true })
  const title = page.getByRole('textbox', { name: 'Title' })
  const keys = []
  page.on('request', request => {
    if (request.url().endsWith('/library/upload')) keys.push(request.headers()['idempotency-key'])
  })
  await title.fill('Persistent')
  await page.locator('.fit label', { hasText: 'Stretched' }).click()
  const kept = async () => {
    same(await title.inputValue(), 'Persistent')
    ok(await page.getByRole('radio', { name: 'Stretched' }).isChecked())
  }

  await choose(page, GIF.subarray(0, 60), 'damaged.gif')
  await said(page, /This browser cannot show the file/)
  await send.click()
  await said(page, /The server cannot read this picture to its end/)
  await choose(page, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'script.svg')
  await send.click()
  await said(page, /This is no GIF, PNG, JPEG or WebP/)
  await kept()

  await choose(page, GIF)
  const answers = [
    route => route.abort('connectionreset'),
    route => route.fulfill({ status: 409, json: { error: 'A request with this Idempotency-Key is still running' } }),
    route => route.fulfill({ status: 503, headers: { 'retry-after': '3' }, json: { error: 'Server is busy' } }),
    route => route.fulfill({ status: 413, json: { error: 'File is larger than 10485760 bytes' } }),
    route => route.fulfill({ status: 429, headers: { 'retry-after': '120' }, json: { error: 'Too many uploads at the same time' } })
  ]
  const sentences = [
    /The server cannot be reached/,
    /The first try is still running\./,
    /The server is busy or stopping\. Try again in 3 seconds/,
    /File is larger than 10485760 bytes\./,
    /Too many uploads at the same time\. Try again in 2 minutes\./
  ]
  await page.route('**/library/upload', () => {}, { times: 1 })
  await send.click()
  await page.waitForFunction(() => document.querySelector('fieldset').disabled)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await said(page, /The upload is cancelled/)
  await kept()
  for (const [i, answer] of answers.entries()) {
    await page.route('**/library/upload', answer, { times: 1 })
    await send.click()
    await said(page, sentences[i])
    await kept()
  }
  await send.click()
  await said(page, /^Persistent is uploaded/)
  same(await title.inputValue(), '')
  const [, , cancelled, cut, running, busy, large, many, done] = keys
  same([cut, running, busy, large], Array(4).fill(cancelled), 'an upload without an answer keeps its key, so that it is stored once')
  same(new Set([cut, many, done]).size, 3, 'one that was refused gets another key')

  await page.context().setOffline(true)
  await page.getByRole('link', { name: 'Library', exact: true }).click()
  await said(page, /The server cannot be reached/)
  await page.context().setOffline(false)
}

/** Search, filters, pages, changing, deleting, reporting and blocking. */
async function neighbours ({ service, open, shoot }) {
  const owner = await service.signIn(OWNER)
  await service.call('POST', '/users', { token: owner, json: { username: 'leila', number: OWNER } })
  for (let i = 0; i < 30; i++) {
    await service.upload(owner, GIF, { user_id: 'leila', title: `Fox ${i}`, category: i % 2 ? 'Animals' : 'GIF' })
  }
  // without a name, the second sign-in would end the first one
  const named = { username: 'ravi', number: READER }
  same((await service.call('POST', '/users', { token: await service.signIn(READER), json: named })).status, 201)
  const page = await open({ ownClock: true })
  await signIn(page, service, READER)
  await page.getByText('30 pictures').waitFor()
  const cards = page.locator('.card')
  await shoot(page, 'full')
  same(await cards.count(), 24)
  await page.getByRole('button', { name: 'Show more' }).click()
  await page.getByRole('button', { name: 'Fox 0', exact: true }).waitFor()
  same(await cards.count(), 30)
  await page.getByLabel('Search').fill('fox 7')
  await page.keyboard.press('Enter')
  await page.getByText('1 picture', { exact: true }).waitFor()
  await page.getByLabel('Search').fill('')
  await page.getByLabel('Category').fill('Animals')
  await page.keyboard.press('Enter')
  await page.getByText('15 pictures').waitFor()
  await page.getByLabel('Type').selectOption('Pictures')
  await page.getByText('Nothing matches these filters.').waitFor()
  await page.getByLabel('Type').selectOption('All')
  await page.getByLabel('Category').fill('')
  await page.getByLabel('Only mine').check()
  await page.getByText('You have uploaded nothing yet.').waitFor()
  await page.getByLabel('Only mine').uncheck()
  await page.getByText('30 pictures').waitFor()

  // with the keyboard alone
  await page.getByRole('button', { name: 'Fox 29' }).focus()
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'Fox 29' })
  await plays(dialog.locator('canvas'))
  await page.keyboard.press('Escape')
  same(await page.evaluate(() => document.activeElement?.textContent), 'Fox 29', 'the focus returns')

  await page.keyboard.press('Enter')
  await dialog.getByText('Report it').click()
  await dialog.getByLabel('Reason').selectOption('Violence')
  await dialog.getByLabel('Comment').fill('It flickers.')
  await page.route('**/reports', route => route.abort(), { times: 1 })
  await dialog.getByRole('button', { name: 'Send the report' }).click()
  await said(page, /cannot be reached/)
  same(await dialog.getByLabel('Comment').inputValue(), 'It flickers.')
  await dialog.getByRole('button', { name: 'Send the report' }).click()
  await said(page, /A moderator will look at it/)
  await page.getByText('29 pictures').waitFor()
  same(await page.getByRole('button', { name: 'Fox 29' }).count(), 0)

  await page.getByRole('button', { name: 'Fox 28' }).click()
  await confirm(page, 'Block the uploader', 'Hide all of their pictures from me')
  await page.getByText('The library is empty.').waitFor()
  await page.getByRole('link', { name: 'Account' }).click()
  await page.locator('.rows', { hasText: 'leila' }).waitFor()
  await page.getByRole('button', { name: 'Unblock' }).click()
  await page.getByText('You have blocked nobody.').waitFor()

  const elsewhere = await service.signIn(READER)
  await page.reload()
  await page.getByRole('button', { name: 'End', exact: true }).first().click()
  await said(page, /The session has ended/)
  same((await service.call('GET', '/auth/sessions', { token: elsewhere })).status, 401)
  same((await service.call('GET', '/library', { token: elsewhere })).status, 401)

  await page.getByRole('link', { name: 'Upload', exact: true }).click()
  await choose(page, GIF)
  await page.getByRole('textbox', { name: 'Title' }).fill('Mine')
  await page.getByRole('button', { name: 'Upload', exact: true }).click()
  await page.getByRole('link', { name: 'See it in the library' }).click()
  let deletions = 0
  page.on('request', request => { if (request.method() === 'DELETE') deletions++ })
  await page.getByRole('button', { name: 'Mine' }).click()
  const own = page.getByRole('dialog', { name: 'Mine' })
  await own.getByRole('textbox', { name: 'Title' }).fill('Ours')
  await own.getByLabel('Category').fill('Foxes')
  await own.getByRole('button', { name: 'Save' }).click()
  await said(page, /^Saved\.$/)
  await page.getByRole('button', { name: 'Ours' }).click()
  const ours = page.getByRole('dialog', { name: 'Ours' })
  await page.clock.pauseAt(Date.now() + 3_600_000)
  await ours.getByRole('button', { name: 'Delete', exact: true }).dblclick()
  await ours.getByRole('button', { name: 'Delete it for good' }).dblclick() // too soon after the question
  await ours.getByRole('button', { name: 'Cancel' }).waitFor()
  await page.clock.fastForward(500)
  await ours.getByRole('button', { name: 'Cancel' }).click()
  await page.keyboard.down('Enter')
  for (let i = 0; i < 3; i++) {
    await page.clock.fastForward(500)
    await page.keyboard.down('Enter') // held
  }
  await page.keyboard.up('Enter')
  await page.clock.fastForward(500)
  await ours.getByRole('button', { name: 'Delete it for good' }).click()
  await said(page, /^Ours is deleted\.$/)
  same(deletions, 1, 'a double click or a held key is no answer')
  await page.getByText('29 pictures').waitFor()
}

/** A queue of twenty, worked off with the keyboard; then people are searched, blocked and unblocked. */
async function moderator ({ service, open, shoot }) {
  const owner = await service.signIn(OWNER)
  await service.call('POST', '/users', { token: owner, json: { username: 'leila', number: OWNER } })
  const reporter = await service.signIn(READER)
  const own = await service.upload(await service.signIn(ADMIN), GIF, { user_id: 'admin', title: 'Fox 100' })
  const mine = { token: reporter, json: { reason: 'other', comment: '<b>Comment 100</b>' } }
  same((await service.call('POST', `/library/${own.id}/reports`, mine)).status, 201)
  const items = []
  for (let i = 0; i < QUEUE; i++) {
    const item = await service.upload(owner, GIF, { user_id: 'leila', title: `Fox ${i}` })
    items.push(item)
    const json = { reason: 'spam', comment: `<b>Comment ${i}</b>` }
    same((await service.call('POST', `/library/${item.id}/reports`, { token: reporter, json })).status, 201)
  }
  const page = await open({ ownClock: true })
  let reviews = 0
  page.on('request', request => { if (request.url().endsWith('/review')) reviews++ })
  await signIn(page, service, ADMIN)
  await page.getByRole('link', { name: 'Reports' }).click()
  await page.locator('.reports .total', { hasText: `${QUEUE + 1} pictures` }).waitFor()
  await plays(page.locator('.report canvas'))
  await page.locator('.report').getByText(/^<b>Comment/).waitFor()
  await accessible(page, 'reports')
  await shoot(page, 'moderating')

  await page.clock.pauseAt(Date.now() + 3_600_000)
  const decided = {}
  const name = async () => /\d+/.exec(await page.locator('.report h2').textContent())[0]
  for (let left = QUEUE + 1; left > 2; left--) {
    const [key, decision] = [['k', 'Kept'], ['h', 'Hidden'], ['r', 'Removed']][left % 3]
    const number = await name()
    if (number === '100') same(await page.getByRole('button', { name: 'Block the owner' }).count(), 0)
    decided[number] = key
    await look(page)
    if (left === 18) await page.getByRole('button', { name: 'Keep' }).dblclick()
    else await page.keyboard.press(key)
    await said(page, new RegExp(`^${decision}: Fox ${number}\\. ${left - 1} left\\.$`))
    await page.keyboard.press(key) // before anybody can have seen the next one
  }
  same(reviews, QUEUE - 1, 'a picture that was not seen is not decided')
  await page.getByLabel('Keyboard shortcuts').uncheck()
  await look(page)
  await page.keyboard.press('r')
  await page.getByRole('link', { name: 'People' }).click() // its answer comes after that of a decision
  await page.locator('.people .rows', { hasText: OWNER }).waitFor()
  await page.evaluate(() => { document.querySelector('.report h2').isOld = true })
  await page.getByRole('link', { name: 'Reports' }).click()
  await page.waitForFunction(() => !document.querySelector('.report h2').isOld) // the queue is loaded again
  same(reviews, QUEUE - 1, 'no key decides while they are off')
  await page.locator('.reports .total', { hasText: /^2 pictures$/ }).waitFor()
  await page.getByLabel('Keyboard shortcuts').check()
  const skipped = await name()
  await look(page)
  for (const wrong of ['Shift+K', 'Control+k', 'Alt+r']) await page.keyboard.press(wrong)
  await page.keyboard.press('s')
  await page.locator('.report h2', { hasNotText: new RegExp(`^Fox ${skipped}$`) }).waitFor()
  await look(page)
  await page.keyboard.press('b')
  await said(page, /The owner is blocked/)
  await page.keyboard.press('b')
  await page.locator('.reports .rows').getByText(/^The owner of Fox/).waitFor()
  await page.getByRole('button', { name: 'Unblock' }).click()
  await said(page, /The owner is unblocked/)
  await look(page)
  await page.keyboard.press('b')
  await said(page, /The owner is blocked/)

  const first = await name()
  decided[first] = 'k'
  let answer
  const answered = new Promise(resolve => { answer = resolve })
  await page.route('**/review', async route => {
    await answered
    await route.continue()
  }, { times: 1 })
  await page.keyboard.down('k')
  await page.keyboard.press('r')
  await page.keyboard.press('s')
  answer()
  await said(page, new RegExp(`^Kept: Fox ${first}\\. 1 left\\.$`))
  await look(page)
  await page.keyboard.down('k') // still held
  await page.keyboard.up('k')
  decided[await name()] = 'k'
  await page.keyboard.press('k')
  await said(page, /No reports are open/)
  same(reviews, QUEUE + 1, 'neither a held key nor a second one decides')
  await page.locator('.report', { hasText: 'No reports are open.' }).waitFor()

  const statuses = { k: 200, h: 404, r: 404 }
  delete decided[100]
  same(Object.keys(decided).length, QUEUE)
  for (const [number, key] of Object.entries(decided)) {
    const { status } = await service.call('GET', `/library/${items[number].id}`, { token: reporter })
    same(status, statuses[key], `Fox ${number}: ${key}`)
  }
  same((await service.call('GET', '/library', { token: owner })).status, 401, 'the owner is signed out')

  await page.getByRole('link', { name: 'People' }).click()
  await page.getByLabel('Name or phone number').fill('LEI')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByRole('button', { name: 'Unblock leila' }).click()
  await said(page, /leila is unblocked/)
  await page.getByLabel('Name or phone number').fill(OWNER)
  await page.keyboard.press('Enter')
  await confirm(page, 'Block leila', 'Block leila and end all sessions')
  await said(page, /leila is blocked and signed out/)
  await page.getByLabel('Name or phone number').fill('nobody')
  await page.keyboard.press('Enter')
  await page.getByText('No user found.').waitFor()
}

/** A store without CORS, a person who wants less motion, and the times of the frames. */
async function otherBrowsers ({ service, open, shoot }) {
  const owner = await service.signIn(OWNER)
  await service.upload(owner, GIF, { user_id: 'leila', title: 'Fox' })

  const without = await open()
  await without.route('**/64x64.gif', route => {
    return route.request().resourceType() === 'fetch' ? route.abort() : route.continue()
  })
  await signIn(without, service, READER)
  await without.waitForFunction(() => document.querySelector('.panel.is-picture img')?.naturalWidth === 64)
  await shoot(without, 'without-cors')
  await without.getByRole('button', { name: 'Pause panels' }).click()
  await without.locator('.panel img').waitFor({ state: 'detached' })
  await frames(without, 2)
  ok(await isRed(without.locator('.card .panel')), 'the first frame is seen while it stands still')
  await without.getByRole('button', { name: 'Play panels' }).click()
  await without.locator('.panel.is-picture img').waitFor()

  const still = await open({ reducedMotion: 'reduce' })
  await signIn(still, service, OWNER)
  const canvas = still.locator('.card canvas')
  await still.getByRole('button', { name: 'Play Fox' }).waitFor()
  await still.getByRole('button', { name: 'Play panels' }).waitFor()
  await shoot(still, 'reduced-motion')
  await frames(still, 2)
  const first = await picture(canvas)
  await frames(still, 30)
  same(await picture(canvas), first, 'it stands still')
  ok(await isRed(canvas), 'its first frame is seen')
  await still.getByRole('button', { name: 'Play Fox' }).click()
  await plays(canvas)

  const timed = await open()
  await timed.clock.install()
  await timed.goto(service.url)
  await signIn(timed, service, NEWCOMER)
  await timed.locator('.card canvas').waitFor()
  await timed.clock.pauseAt(Date.now() + 3_600_000)
  const changes = []
  let before = await picture(timed.locator('.card canvas'))
  for (let ms = 0; ms < 1400; ms += 10) {
    await timed.clock.runFor(10)
    const now = await picture(timed.locator('.card canvas'))
    if (now !== before) changes.push(ms)
    before = now
  }
  const spans = changes.slice(1).map((ms, i) => ms - changes[i])
  for (const [i, span] of spans.entries()) {
    const near = [100, 50, 200].filter(wanted => Math.abs(span - wanted) <= 20)
    same(near.length, 1, `a frame was shown for ${span} ms`)
    spans[i] = near[0]
  }
  match(spans.concat(spans).join(' '), /100 50 200 100 50/)
}

/** Every view in light, in dark and at a phone's width: axe finds no violation, and nothing is wider than the page. */
async function appearance ({ service, open, shoot }) {
  const owner = await service.signIn(OWNER)
  await service.call('POST', '/users', { token: owner, json: { username: 'leila', number: OWNER } })
  const title = 'A fox with a title that is longer than its card is wide'
  const item = await service.upload(owner, GIF, { user_id: 'leila', title })
  const reader = await service.signIn(READER)
  const json = { reason: 'other', comment: 'x'.repeat(300) }
  same((await service.call('POST', `/library/${item.id}/reports`, { token: reader, json })).status, 201)
  await service.upload(reader, GIF, { user_id: 'a'.repeat(60) })
  for (const [name, options] of Object.entries(APPEARANCES)) {
    const page = await open(options)
    const check = async view => {
      await accessible(page, `${view}, ${name}`)
      const fits = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)
      ok(fits, `${view}, ${name}: too wide`)
      await shoot(page, `${name}-${view}`)
    }
    await check('sign-in')
    await signIn(page, service, ADMIN, () => check('code'))
    await page.locator('.card').nth(1).waitFor()
    await check('library')
    await page.getByRole('button', { name: 'A fox' }).click()
    await page.getByText('Report it').click()
    await page.getByText('Change it').click()
    await check('item')
    await page.keyboard.press('Escape')
    await page.getByRole('link', { name: 'Upload' }).click()
    await choose(page, GIF)
    await page.getByText('three.gif').waitFor()
    await check('upload')
    for (const view of ['Account', 'Reports', 'People']) {
      await page.getByRole('link', { name: view }).click()
      const there = { Account: '.rows .badge', Reports: '.report h2', People: '.people .rows li' }[view]
      await page.locator(there).first().waitFor()
      await check(view.toLowerCase())
    }
  }
}

/** Signs in on the page, with the code that the process prints. */
async function signIn (page, service, phone, beforeCode = () => {}) {
  await page.getByLabel('Phone number').fill(phone)
  await enterCode(page, service, phone, beforeCode)
  await page.locator('#bar nav').waitFor()
}

async function enterCode (place, service, phone, beforeCode = () => {}) {
  const code = await service.codeAfter(phone, () => place.getByRole('button', { name: 'Send code' }).click())
  await place.getByLabel('Code of the SMS').waitFor()
  await beforeCode()
  await place.getByLabel('Code of the SMS').fill(code)
  await place.getByRole('button', { name: 'Sign in' }).click()
}

async function choose (page, buffer, name = 'three.gif') {
  const mimeType = name.endsWith('svg') ? 'image/svg+xml' : 'image/gif'
  await page.locator('input[type=file]').setInputFiles({ name, mimeType, buffer })
}

/** Waits until the page has said a sentence in one of its live regions. */
async function said (page, pattern) {
  await page.locator('#news p, #trouble p', { hasText: pattern }).waitFor()
}

/** Waits until the reported picture is painted, and has been seen for a while. */
async function look (page) {
  await page.locator('.report.is-painted').waitFor()
  await page.clock.fastForward(500)
}

/** Answers the question of a button that asks once more. */
async function confirm (page, words, question) {
  await page.getByRole('button', { name: words, exact: true }).click()
  await page.clock.fastForward(500)
  await page.getByRole('button', { name: question, exact: true }).click()
}

const picture = canvas => canvas.evaluate(element => element.toDataURL())

/** Whether a red LED is on. */
async function isRed (panel) {
  const { data } = PNG.sync.read(await panel.screenshot())
  return data.some((red, i) => i % 4 === 0 && red > 200 && data[i + 1] < 80)
}

/** Waits until a panel has shown three different pictures. */
async function plays (canvas) {
  await canvas.waitFor()
  await canvas.page().waitForFunction(element => {
    element.seen ??= new Set()
    element.seen.add(element.toDataURL())
    return element.seen.size >= 3
  }, await canvas.elementHandle())
}

/** Lets a page draw this many frames. */
async function frames (page, count) {
  await page.evaluate(count => new Promise(resolve => {
    const next = () => count-- > 0 ? window.requestAnimationFrame(next) : resolve()
    next()
  }), count)
}

/** Fails with every rule of WCAG 2.2 A and AA, and of good practice, that axe finds broken. */
async function accessible (page, view) {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => window.axe.run())
  const broken = violations.map(({ id, nodes }) => [id, ...nodes.map(node => `${node.html} ${node.failureSummary}`)])
  same(broken, [], view)
}
