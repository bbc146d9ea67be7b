import { button } from '../dom.js'

let paused = matchMedia('(prefers-reduced-motion: reduce)').matches
let onChange = () => {}

/** Whether panels stand still: at first where the person wants less motion. */
export const isPaused = () => paused

export function whenPlaybackChanges (listener: () => void): void {
  onChange = listener
}

/** The button that lets all panels play or stand still. */
export function playbackButton (): HTMLButtonElement {
  const words = () => paused ? 'Play panels' : 'Pause panels'
  const element = button(words(), () => {
    paused = !paused
    element.textContent = words()
    onChange()
  }, 'quiet')
  return element
}
