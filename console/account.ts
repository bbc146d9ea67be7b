import { announce, attempt } from './announce.js'
import { api, ask, askOr } from './api.js'
import { button, field, fill, form, h } from './dom.js'
import { rename, type Me } from './me.js'
import type { View } from './view.js'
import { date } from './words.js'

/** The caller's name, devices and blocked people. */
export function accountView (me: Me, { renamed, signOut }: { renamed: () => void, signOut: () => void }): View {
  const name = h('input', { value: me.name ?? '', maxLength: 64 })
  const sessions = h('ul', { class: 'rows' })
  const devices = h('h2', { tabIndex: -1 }, 'Devices')
  const blockedPeople = h('h2', { tabIndex: -1 }, 'Blocked people')
  const blocks = h('ul', { class: 'rows' })
  const element = h('section', { class: 'account' },
    h('h1', { tabIndex: -1 }, 'Account'),
    h('p', {}, `Signed in as ${me.phone}.`, me.isAdmin && ' You are an admin.'),
    form(() => attempt(saveName),
      field('Name', name, 'Other people see it beside what you upload. Without one, each sign-in ends the one before; ' +
        'all else works.'),
      h('button', { class: 'main' }, 'Save the name')),
    devices,
    h('p', { class: 'hint' }, 'Each sign-in is listed. End those that you do not know.'),
    sessions,
    h('p', { class: 'actions' },
      button('End all others', () => attempt(endOthers), 'quiet'),
      button('Sign out', signOut, 'quiet')),
    blockedPeople,
    h('p', { class: 'hint' }, 'Their pictures are left out of your library.'),
    blocks)
  return { element, show }

  async function show (): Promise<void> {
    await attempt(async () => { await Promise.all([showSessions(), showBlocks()]) })
  }

  async function saveName (): Promise<void> {
    await rename(me, name.value)
    announce(`Your name is ${me.name}.`)
    renamed()
  }

  async function endOthers (): Promise<void> {
    await ask(api.POST('/auth/logout', { body: { scope: 'others' } }))
    announce('All other sessions have ended.')
    await showSessions()
  }

  async function showSessions (): Promise<void> {
    const page = await ask(api.GET('/auth/sessions'))
    fill(sessions, ...page.sessions.map(session => h('li', {},
      h('div', {},
        h('strong', {}, session.user_agent || 'An unknown device'),
        h('small', {}, `Signed in ${date(session.created_at)}, last used ${date(session.last_used_at)}`)),
      session.current
        ? h('span', { class: 'badge' }, 'This one')
        : button('End', () => attempt(async () => {
          await askOr(404, api.DELETE('/auth/sessions/{id}', { params: { path: { id: session.id } } }))
          devices.focus()
          announce('The session has ended.')
          await showSessions()
        }), 'quiet'))))
  }

  async function showBlocks (): Promise<void> {
    const page = await ask(api.GET('/users/me/blocks'))
    fill(blocks, ...page.blocks.map(block => h('li', {},
      h('div', {},
        h('strong', {}, block.username || 'Somebody without a name'),
        h('small', {}, `Since ${date(block.created_at)}`)),
      button('Unblock', () => attempt(async () => {
        await ask(api.DELETE('/users/me/blocks/{id}', { params: { path: { id: block.user_id } } }))
        blockedPeople.focus()
        announce('You see their pictures again.')
        await showBlocks()
      }), 'quiet'))), page.blocks.length === 0 && h('li', { class: 'none' }, 'You have blocked nobody.'))
  }
}
