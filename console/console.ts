import { accountView } from './account.js'
import { announce, attempt, hush } from './announce.js'
import { api, askOr, whenSessionEnds } from './api.js'
import { closeDialog, openDialog } from './dialog.js'
import { button, fill, h } from './dom.js'
import { libraryView } from './library.js'
import { loadMe, type Me } from './me.js'
import { playbackButton } from './panel/playback.js'
import { peopleView } from './people.js'
import { reportsView } from './reports.js'
import { findSession, forgetSession, type Session } from './session.js'
import { signInForm } from './sign-in.js'
import { uploadView } from './upload.js'
import type { View } from './view.js'

const WORDS: Record<string, string> = {
  library: 'Library', upload: 'Upload', account: 'Account', reports: 'Reports', people: 'People'
}
const main = document.getElementById('view')!
const bar = document.getElementById('bar')!
const playback = document.getElementById('playback')!
const again = document.getElementById('again') as HTMLDialogElement
let me: Me | undefined
let views: Record<string, () => View> = {}
/** The views that were shown, with what was typed into them. */
let shown = new Map<string, View>()

document.getElementById('skip')!.addEventListener('click', event => {
  event.preventDefault() // the address names the view
  main.focus()
})
window.addEventListener('hashchange', () => {
  hush()
  show()
})
again.addEventListener('cancel', event => { event.preventDefault() }) // there is nothing to go back to
again.addEventListener('close', () => { if (me && !findSession() && !again.open) again.showModal() }) // Escape, twice
window.addEventListener('storage', followOtherTab)
for (const name of ['dragover', 'drop'] as const) {
  window.addEventListener(name, event => {
    // the browser would leave the page for the file
    if (event.dataTransfer?.types.includes('Files')) event.preventDefault()
  })
}
whenSessionEnds(signInAgain)
await begin()

/** Shows the sign-in, or the view that the address names. */
async function begin (): Promise<void> {
  leave()
  const session = findSession()
  if (!session) return welcome()
  const loaded = await attempt(() => loadMe(session))
  if (loaded) enter(loaded)
  else if (findSession()) {
    fill(main, h('section', { class: 'welcome' },
      h('h1', {}, 'The console cannot start'),
      button('Try again', begin, 'main')))
  }
}

function welcome (): void {
  leave()
  fill(main, h('section', { class: 'welcome' },
    h('h1', { tabIndex: -1 }, 'Pictures for the bag'),
    h('p', {}, 'A shared library of images and GIFs for a panel of 64 × 64 LEDs. Sign in with your phone number.'),
    signInForm(() => { begin() })))
}

function leave (): void {
  me = undefined
  for (const view of shown.values()) view.leave?.()
  shown = new Map()
  fill(bar)
  fill(playback)
  for (const dialog of document.querySelectorAll('dialog')) closeDialog(dialog)
  document.title = 'Hookaba'
}

function enter (person: Me): void {
  me = person
  views = {
    library: () => libraryView(person),
    upload: () => uploadView(person),
    account: () => accountView(person, { renamed: showBar, signOut }),
    ...(person.isAdmin && { reports: () => reportsView(person), people: () => peopleView(person) })
  }
  shown = new Map()
  fill(main)
  fill(playback, playbackButton())
  showBar()
  show()
}

/** Brings a view to the front. The others keep what was typed into them. */
function show (): void {
  if (!me) return
  const name = nameOfView()
  const view = shown.get(name) ?? views[name]!()
  shown.set(name, view)
  if (!view.element.isConnected) main.append(view.element)
  for (const other of shown.values()) other.element.hidden = other !== view
  document.title = `${WORDS[name]} – Hookaba`
  for (const link of bar.querySelectorAll('a')) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  view.element.querySelector<HTMLElement>('h1')?.focus()
  view.show?.()
}

function nameOfView (): string {
  const name = location.hash.slice(1)
  return Object.hasOwn(views, name) ? name : 'library'
}

function showBar (): void {
  fill(bar,
    h('nav', { ariaLabel: 'Console' }, ...Object.keys(views).map(name => h('a', { href: `#${name}` }, WORDS[name]!))),
    h('span', { class: 'who' }, me?.name ?? me?.phone ?? ''))
  bar.querySelector(`a[href="#${nameOfView()}"]`)?.setAttribute('aria-current', 'page')
}

/** Signs in over what is open, so that nothing is lost. Another person begins anew. */
function signInAgain (): void {
  if (!me) {
    if (!main.querySelector('.sign-in')) welcome()
    return
  }
  if (again.open) return
  const { account, phone } = me
  openDialog(again,
    h('h2', {}, 'Sign in again'),
    h('p', {}, 'Your session has ended. What you typed is still here.'),
    signInForm((session: Session) => {
      closeDialog(again)
      if (session.account !== account) return begin()
      shown.get(nameOfView())?.show?.()
      announce('You are signed in again. Repeat what you did last.')
    }, phone),
    h('p', { class: 'actions' }, button('Leave', welcome, 'quiet')))
}

/** Another tab has signed in or out. */
function followOtherTab (): void {
  const session = findSession()
  if (session?.account === me?.account) closeDialog(again)
  else if (session) begin()
  else signInAgain()
}

async function signOut (): Promise<void> {
  await attempt(async () => {
    await askOr(401, api.POST('/auth/logout', { body: { scope: 'current' } }))
    forgetSession()
    welcome()
    announce('You are signed out.')
  })
}
