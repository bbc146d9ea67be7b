import { cube } from './pictures/cube.js'
import { toGif, toPng, type Animation, type Still } from './pictures/draw.js'
import { fireworks } from './pictures/fireworks.js'
import { heart } from './pictures/heart.js'
import { life } from './pictures/life.js'
import { plasma } from './pictures/plasma.js'
import { scroller } from './pictures/scroller.js'
import { snake } from './pictures/snake.js'
import { flag, globe, rainbow, smiley } from './pictures/stills.js'
import { sunset } from './pictures/sunset.js'

export interface Person { username: string, number: string }

/** `title` tells whether the person has uploaded it already. Without a category it gets the service's default. */
export interface Picture { by: Person, title: string, category?: string, filename: string, make: () => Buffer }

/** Numbers that are reserved for fiction (North American Numbering Plan, 555-0100 to 555-0199). */
const maya: Person = { username: 'Maya', number: '+12025550101' }
const tom: Person = { username: 'Tom', number: '+12025550102' }
const lena: Person = { username: 'Lena', number: '+12025550103' }
export const PEOPLE = [maya, tom, lena]

/** In the order of upload: the last one is the first of the list. */
export const PICTURES: Picture[] = [
  still(lena, 'Flag in the wind', undefined, 'flag.png', flag),
  still(tom, 'Checkered globe', 'Retro', 'globe.png', globe),
  gif(lena, 'Game of life', 'Patterns', 'life.gif', life),
  gif(tom, 'Snake', 'Games', 'snake.gif', snake),
  still(maya, 'Smiley with sunglasses', 'Faces', 'smiley.png', smiley),
  gif(tom, 'Spinning cube', 'Retro', 'cube.gif', cube),
  gif(lena, 'Hello Hookaba', 'Retro', 'hello.gif', scroller),
  still(maya, 'Rainbow', undefined, 'rainbow.png', rainbow),
  gif(lena, 'Fireworks', 'Party', 'fireworks.gif', fireworks),
  gif(maya, 'Beating heart', 'Love', 'heart.gif', heart),
  gif(maya, 'Plasma', undefined, 'plasma.gif', plasma),
  gif(tom, 'Neon sunset', 'Retro', 'sunset.gif', sunset)
]

function gif (by: Person, title: string, category: string | undefined, filename: string, picture: Animation): Picture {
  return { by, title, ...(category && { category }), filename, make: () => toGif(picture) }
}

function still (by: Person, title: string, category: string | undefined, filename: string, picture: Still): Picture {
  return { by, title, ...(category && { category }), filename, make: () => toPng(picture) }
}
