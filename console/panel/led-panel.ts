import type { Item } from '../api.js'
import { h } from '../dom.js'
import { canDecode, loadRendition, SIDE, type Animation } from './animation.js'
import { frameAt } from './frame-at.js'
import { paint } from './leds.js'
import { isPaused, whenPlaybackChanges } from './playback.js'

export interface LedPanel {
  element: HTMLElement
  /** Shows frames that were decoded elsewhere. Without them all LEDs are off. */
  show: (animation?: Animation) => void
}

interface Screen {
  isVisible: boolean
  wasInPage: boolean
  appear: () => void
  disappear: () => void
  resize: (width: number) => void
  /** Returns whether the next frame of the display may need another one. */
  draw: (now: number) => boolean
  playbackChanged: () => void
}

/** All LEDs are off. */
const DARK: Animation = { frames: [new ImageData(SIDE, SIDE)], delays: [0] }

const screens = new Map<Element, Screen>()
const visibility = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    const screen = screens.get(target)
    if (!screen || screen.isVisible === isIntersecting) continue
    screen.isVisible = isIntersecting
    if (isIntersecting) screen.appear()
    else screen.disappear()
  }
  wake()
}, { rootMargin: '64px' })
const sizes = new ResizeObserver(entries => {
  for (const { target, contentRect } of entries) screens.get(target)?.resize(contentRect.width)
})

whenPlaybackChanges(() => { for (const screen of screens.values()) screen.playbackChanged() })

let isAwake = false
function wake (): void {
  if (!isAwake) requestAnimationFrame(tick)
  isAwake = true
}

/** Draws the panels that are seen, once for each frame of the display. It rests when none of them moves. */
function tick (now: number): void {
  isAwake = false
  for (const [element, screen] of screens) {
    screen.wasInPage ||= element.isConnected
    if (!element.isConnected && screen.wasInPage) remove(element)
    else if (screen.isVisible && screen.draw(now)) wake()
  }
}

function remove (element: Element): void {
  screens.get(element)?.disappear()
  screens.delete(element)
  visibility.unobserve(element)
  sizes.unobserve(element)
}

/**
 * An LED panel of 64x64 round pixels. With an item it plays the item's rendition while it is seen. Without one it shows
 * what `show` is given; at first all LEDs are off. While playback is paused it stands still, and has a button of its
 * own to play. `isNamedBeside`: the label stands beside the panel, so screen readers need not read it twice.
 */
export function ledPanel (label: string, item?: Item, { isNamedBeside = false } = {}): LedPanel {
  const name = isNamedBeside ? { ariaHidden: 'true' } : { role: 'img', ariaLabel: label }
  const canvas = h('canvas', { width: SIDE, height: SIDE, ...name })
  const play = h('button', { type: 'button', class: 'panel-play', hidden: true })
  const element = h('div', { class: 'panel' }, canvas, play)
  const context = canvas.getContext('2d')!
  const rendition = item?.renditions?.['64x64']
  let animation = DARK
  let loading: AbortController | undefined
  let fallback: HTMLImageElement | undefined
  let isPlayedAlone = false
  let began = 0
  let index = 0
  let isPainted = false
  let cell = 1

  const screen: Screen = {
    isVisible: false,
    wasInPage: false,
    appear () {
      setSize(cell * SIDE)
      if (!item) return
      loading = new AbortController()
      const { signal } = loading
      load(signal).catch(() => { if (!signal.aborted) showPicture() })
    },
    disappear () {
      loading?.abort()
      hidePicture()
      setSize(1) // a canvas that is not seen takes no memory
      if (!item) return
      animation = DARK // loadRendition keeps the frames, within a bound
      index = 0
    },
    resize (width) {
      cell = Math.max(1, Math.floor(width * devicePixelRatio / SIDE))
      canvas.style.width = canvas.style.height = `${cell * SIDE / devicePixelRatio}px`
      if (screen.isVisible) setSize(cell * SIDE)
    },
    draw (now) {
      if (fallback) {
        if (!isPainted && isLoaded(fallback)) {
          paint(context, fallback)
          isPainted = true
        }
        return false
      }
      const next = isPlaying() ? frameAt(animation.delays, now - began) : index
      if (next !== index || !isPainted) paint(context, animation.frames[next]!)
      index = next
      isPainted = true
      return animation.frames.length > 1 && isPlaying()
    },
    playbackChanged () {
      isPlayedAlone = false
      refresh()
    }
  }

  play.addEventListener('click', () => {
    isPlayedAlone = !isPlayedAlone
    refresh()
  })
  screens.set(element, screen)
  visibility.observe(element)
  sizes.observe(element)
  return { element, show }

  async function load (signal: AbortSignal): Promise<void> {
    const isAnimated = rendition?.content_type === 'image/gif'
    if (!rendition || (isAnimated && !canDecode)) return showPicture()
    const loaded = await loadRendition(rendition.url, rendition.content_type, signal)
    if (!signal.aborted) show(loaded)
  }

  function show (next = DARK): void {
    hidePicture()
    animation = next
    began = performance.now()
    index = 0
    isPainted = false
    refresh()
  }

  function setSize (side: number): void {
    canvas.width = canvas.height = side // this also empties it
    isPainted = false
    wake()
  }

  /**
   * Shows the picture itself under a mask, where its frames cannot be read. The browser plays it. While it stands still
   * the canvas shows its first frame.
   */
  function showPicture (): void {
    if (!item) return
    fallback = h('img', { alt: '', decoding: 'async', on: { load: wake } })
    fallback.src = rendition?.url ?? item.url
    isPainted = false
    refresh()
  }

  function hidePicture (): void {
    fallback?.remove()
    fallback = undefined
    element.classList.remove('is-picture')
  }

  function refresh (): void {
    const moves = fallback ? item?.type === 'gif' : animation.frames.length > 1
    play.hidden = !(moves && isPaused())
    play.textContent = isPlayedAlone ? 'Pause' : 'Play'
    play.ariaLabel = `${play.textContent} ${label}`
    wake()
    if (!fallback) return
    const isStill = moves && !isPlaying()
    element.classList.toggle('is-picture', !isStill)
    if (isStill) fallback.remove()
    else element.append(fallback)
  }

  function isPlaying (): boolean {
    return isPlayedAlone || !isPaused()
  }
}

const isLoaded = (picture: HTMLImageElement) => picture.complete && picture.naturalWidth > 0
