import { announce, attempt, complain } from './announce.js'
import { upload, type Fit } from './api.js'
import { button, field, fill, form, h } from './dom.js'
import { labelOf, type Me } from './me.js'
import { canDecode, decode } from './panel/animation.js'
import { drawFitted, FITS } from './panel/fit.js'
import { ledPanel } from './panel/led-panel.js'
import { Refusal } from './refusal.js'
import type { View } from './view.js'
import { BITMAP_BYTES, bytes, titleOf, wayToTheBag } from './words.js'

const TYPES = 'image/gif,image/png,image/jpeg,image/webp'
/** A preview of a longer animation begins anew after these. */
const MAX_PREVIEW_FRAMES = 300
/** A larger file is not read before the server has accepted it. */
const MAX_PREVIEW_BYTES = 64e6
/** The panel takes 9,000 bytes a second by Bluetooth. */
const STILL_SECONDS = Math.ceil(BITMAP_BYTES / 900) / 10

/** Chooses a file, shows it on three panels, and uploads it. The form keeps what it holds until that has succeeded. */
export function uploadView (me: Me): View {
  const input = h('input', { type: 'file', accept: TYPES })
  const drop = h('label', { class: 'drop' }, input,
    h('span', { class: 'drop-words' }, 'Choose a picture, or drop it here'),
    h('span', { class: 'hint' }, 'GIF, PNG, JPEG or WebP'))
  const chosen = h('p', { class: 'chosen' })
  const previews = FITS.map(({ fit, words, hint }) => {
    const panel = ledPanel(words, undefined, { isNamedBeside: true })
    const radio = h('input', { type: 'radio', name: 'fit', value: fit, checked: fit === 'contain' })
    const element = h('div', { class: 'fit' }, panel.element, h('label', {}, radio, ` ${words}`), h('small', {}, hint))
    return { panel, radio, element }
  })
  const heading = h('h1', { tabIndex: -1 }, 'Upload')
  const title = h('input', { maxLength: 255 })
  const category = h('input', { maxLength: 255 })
  const bar = h('progress', { max: 1, value: 0, ariaLabel: 'Upload' })
  const percent = h('span', {})
  const cancel = h('button', { type: 'button', class: 'quiet' }, 'Cancel')
  const progress = h('p', { class: 'progress', hidden: true }, bar, percent, cancel)
  const send = h('button', { class: 'main', disabled: true }, 'Upload')
  const result = h('div', { class: 'result', hidden: true })
  let file: File | undefined
  let key = crypto.randomUUID()
  let preview = 0
  let running: AbortController | undefined

  cancel.addEventListener('click', leave)
  input.addEventListener('change', () => {
    choose(input.files?.[0])
    input.value = '' // the same file may be chosen again
  })
  const contents = h('fieldset', { class: 'contents' },
    drop, chosen,
    h('fieldset', { class: 'fits' },
      h('legend', {}, 'How it goes on the panel'), ...previews.map(({ element }) => element)),
    h('div', { class: 'pair' },
      field('Title', title, 'If you like'),
      field('Category', category, 'If you like')))
  const details = form(() => attempt(start),
    contents,
    h('div', { class: 'actions' }, send, progress))
  details.addEventListener('input', () => { key = crypto.randomUUID() }) // another upload than the one before
  const element = h('section', { class: 'upload' }, heading, result, details)
  for (const name of ['dragenter', 'dragover'] as const) {
    element.addEventListener(name, event => {
      event.preventDefault()
      drop.classList.add('is-over')
    })
  }
  for (const name of ['dragleave', 'drop'] as const) {
    element.addEventListener(name, () => { drop.classList.remove('is-over') })
  }
  element.addEventListener('drop', event => {
    event.preventDefault()
    choose(event.dataTransfer?.files[0])
  })
  return { element, leave }

  function leave (): void {
    running?.abort()
  }

  function dismiss (): void {
    result.hidden = true
    heading.focus()
  }

  function choose (next: File | undefined): void {
    if (!next || running) return
    file = next
    key = crypto.randomUUID()
    send.disabled = false
    result.hidden = true
    chosen.textContent = `${next.name}, ${bytes(next.size)}`
    showPreviews(next, ++preview)
  }

  async function showPreviews (picture: File, number: number): Promise<void> {
    if (!TYPES.split(',').includes(picture.type) || picture.size > MAX_PREVIEW_BYTES) {
      for (const { panel } of previews) panel.show()
      chosen.textContent += '. There is no preview of this file.'
      return
    }
    try {
      const animations = await decode(
        await picture.arrayBuffer(),
        picture.type,
        FITS.map(({ fit }) => drawFitted(fit)),
        { maxFrames: MAX_PREVIEW_FRAMES }
      )
      if (number !== preview) return
      animations.forEach((animation, i) => { previews[i]!.panel.show(animation) })
      const isKnown = canDecode || ['image/jpeg', 'image/png'].includes(picture.type)
      const isStill = isKnown && animations[0]!.frames.length === 1
      chosen.textContent += isStill
        ? `. ${bytes(BITMAP_BYTES)}, about ${STILL_SECONDS} s to the bag.`
        : '. How long it takes to the bag is known after the upload.'
    } catch {
      if (number !== preview) return
      for (const { panel } of previews) panel.show()
      complain(new Refusal('This browser cannot show the file. It may be damaged, or no picture.', 0))
    }
  }

  async function start (): Promise<void> {
    if (!file) return
    const { value: fit } = previews.find(({ radio }) => radio.checked)!.radio
    running = new AbortController()
    contents.disabled = true // what is chosen during an upload would be lost after it
    tell(0)
    try {
      const item = await upload(
        { file, user_id: labelOf(me), title: title.value, category: category.value, fit: fit as Fit },
        { key, signal: running.signal, onProgress: tell }
      )
      const words = `${titleOf(item)} is uploaded: ${wayToTheBag(item) ?? 'no rendition'}.`
      announce(words)
      reset()
      result.hidden = false
      fill(result,
        ledPanel(titleOf(item), item).element,
        h('div', {}, h('p', {}, words), h('p', { class: 'actions' },
          h('a', { class: 'button', href: '#library' }, 'See it in the library'),
          button('Dismiss', dismiss, 'quiet'))))
    } catch (error) {
      if (!element.isConnected) return // the person has left
      // the answer is kept under its key: while there is none, the same upload is tried again and stored once
      if (error instanceof Refusal && isFinal(error.status)) key = crypto.randomUUID()
      throw error
    } finally {
      running = undefined
      contents.disabled = false
      progress.hidden = true
    }
  }

  /** 401: the session has ended. 409: the first try is still running. */
  function isFinal (status: number): boolean {
    return status >= 400 && status < 500 && status !== 401 && status !== 409
  }

  function tell (share: number): void {
    progress.hidden = false
    bar.value = share
    percent.textContent = share < 1 ? `${Math.floor(share * 100)} %` : 'The server looks at it …'
  }

  function reset (): void {
    details.reset()
    file = undefined
    key = crypto.randomUUID()
    preview++
    send.disabled = true
    chosen.textContent = ''
    for (const { panel } of previews) panel.show()
  }
}
