import { announce, attempt, hush } from './announce.js'
import { api, ask } from './api.js'
import { button, field, form, h } from './dom.js'
import { Refusal } from './refusal.js'
import { keepSession, type Session } from './session.js'

const ON_THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)
const WHERE_THE_CODE_IS = 'On your own machine no SMS is sent, unless you set a gateway up. ' +
  'The code is printed in the terminal of npm start, in the line that begins with SMS.'

/** Two steps: the phone number, then the code of the SMS. `phone` is a number to begin with. */
export function signInForm (done: (session: Session) => unknown, phone = ''): HTMLElement {
  const number = h('input', {
    type: 'tel',
    autocomplete: 'tel',
    required: true,
    value: phone,
    placeholder: '+91 98765 43210'
  })
  const code = h('input', {
    class: 'code',
    inputMode: 'numeric',
    autocomplete: 'one-time-code',
    required: true,
    maxLength: 12
  })
  const asking = form(() => sendCode(), field('Phone number', number), h('button', { class: 'main' }, 'Send code'))
  const sentTo = h('p', { class: 'sent-to', role: 'status' })
  const checking = form(() => attempt(check), sentTo,
    field('Code of the SMS', code, ON_THIS_MACHINE ? WHERE_THE_CODE_IS : undefined),
    h('div', { class: 'actions' },
      h('button', { class: 'main' }, 'Sign in'),
      button('Send again', () => sendCode(), 'quiet'),
      button('Use another number', () => { show(asking, number) }, 'quiet')))
  checking.hidden = true
  return h('div', { class: 'sign-in' }, asking, checking)

  async function sendCode (): Promise<void> {
    await attempt(async () => {
      await ask(api.POST('/auth/request-otp', { body: { phone: number.value, platform: 'web' } }))
      const isAgain = !checking.hidden
      sentTo.textContent = `A code is on its way to ${number.value}.`
      hush()
      show(checking, code)
      if (isAgain) announce('The code is sent again.')
    })
  }

  async function check (): Promise<void> {
    const body = { phone: number.value, otp: code.value }
    const { success, access_token: token } = await ask(api.POST('/auth/verify-otp', { body }))
    if (!success || token === undefined) {
      code.select()
      throw new Refusal('This code is not right, or too old. Try again, or have another one sent.', 200)
    }
    hush()
    done(keepSession(token, number.value))
  }

  function show (step: HTMLElement, first: HTMLInputElement): void {
    asking.hidden = step !== asking
    checking.hidden = step !== checking
    first.value = first === code ? '' : first.value
    first.focus()
  }
}
