import type { ReportReason } from '../../schemas/moderation.js'
import { cube } from './pictures/cube.js'
import { toGif, toPng, type Animation, type Still } from './pictures/draw.js'
import { fireworks } from './pictures/fireworks.js'
import { heart } from './pictures/heart.js'
import { life } from './pictures/life.js'
import { plasma as plasmaWaves } from './pictures/plasma.js'
import { scroller } from './pictures/scroller.js'
import { snake } from './pictures/snake.js'
import { flag, globe, rainbow as rainbowStill, smiley as smileyStill } from './pictures/stills.js'
import { sunset } from './pictures/sunset.js'

export interface Person { username: string, number: string }

/** `title` tells whether the person has uploaded it already. Without a category it gets the service's default. */
export interface Picture { by: Person, title: string, category?: string, filename: string, make: () => Buffer }

/** The picture is somebody else's. */
export interface Report { by: Person, of: Picture, reason: ReportReason, comment?: string }

/** Numbers that are reserved for fiction (North American Numbering Plan, 555-0100 to 555-0199). */
const maya: Person = { username: 'Maya', number: '+12025550101' }
const tom: Person = { username: 'Tom', number: '+12025550102' }
const lena: Person = { username: 'Lena', number: '+12025550103' }
export const PEOPLE = [maya, tom, lena]
/** Nobody's yet: for a moderator. */
export const MODERATOR = '+12025550104'

const smiley = still(maya, 'Smiley with sunglasses', 'Faces', 'smiley.png', smileyStill)
const rainbow = still(maya, 'Rainbow', undefined, 'rainbow.png', rainbowStill)
const plasma = gif(maya, 'Plasma', undefined, 'plasma.gif', plasmaWaves)

/** In the order of upload: the last one is the first of the list. */
export const PICTURES: Picture[] = [
  still(lena, 'Flag in the wind', undefined, 'flag.png', flag),
  still(tom, 'Checkered globe', 'Retro', 'globe.png', globe),
  gif(lena, 'Game of life', 'Patterns', 'life.gif', life),
  gif(tom, 'Snake', 'Games', 'snake.gif', snake),
  smiley,
  gif(tom, 'Spinning cube', 'Retro', 'cube.gif', cube),
  gif(lena, 'Hello Hookaba', 'Retro', 'hello.gif', scroller),
  rainbow,
  gif(lena, 'Fireworks', 'Party', 'fireworks.gif', fireworks),
  gif(maya, 'Beating heart', 'Love', 'heart.gif', heart),
  plasma,
  gif(tom, 'Neon sunset', 'Retro', 'sunset.gif', sunset)
]

/** Their items stay visible: three accounts that are a day old would hide one. */
export const REPORTS: Report[] = [
  { by: tom, of: smiley, reason: 'copyright', comment: 'I drew this face for my shop last year.' },
  { by: lena, of: smiley, reason: 'spam' },
  { by: lena, of: plasma, reason: 'other', comment: 'It flickers too much for my eyes.' },
  { by: tom, of: rainbow, reason: 'spam', comment: 'There is one like this already.' }
]

function gif (by: Person, title: string, category: string | undefined, filename: string, picture: Animation): Picture {
  return { by, title, ...(category && { category }), filename, make: () => toGif(picture) }
}

function still (by: Person, title: string, category: string | undefined, filename: string, picture: Still): Picture {
  return { by, title, ...(category && { category }), filename, make: () => toPng(picture) }
}
