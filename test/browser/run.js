/**
 * Operates the console at / and the page at /docs in a headless Chromium, as a newcomer and a moderator would.
 *
 *   npm run test:browser [-- --screenshots FOLDER]
 *
 * Without Chromium nothing is tried; the script says so, and does not fail.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { operateConsole } from './console.js'
import { operateDocs } from './docs.js'

const PAGES = { 'the console at /': operateConsole, 'the page at /docs': operateDocs }
const { values: { screenshots } } = parseArgs({ options: { screenshots: { type: 'string' } } })
const executablePath = process.env.CHROMIUM ??
  ['chromium', 'chromium-browser', 'google-chrome']
    .flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name)))
    .find(existsSync)

if (executablePath) await main()
else {
  console.log(`NOT TRIED: ${Object.keys(PAGES).join(' and ')}, because there is no Chromium here ` +
    '(chromium, chromium-browser or google-chrome)')
}

async function main () {
  if (screenshots) await mkdir(screenshots, { recursive: true })
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  const shoot = async (page, name) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`) })
  }
  try {
    for (const [name, operate] of Object.entries(PAGES)) {
      console.log(`== ${name}`)
      await operate(browser, shoot)
    }
  } finally {
    await browser.close()
  }
}
