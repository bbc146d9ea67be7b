/** Lets one actor at a time go on, in random order, at each call of the methods it directs. */
export function createStage () {
  const waiting: Array<() => void> = []
  const acting = new Set<Promise<void>>()
  let playing = false
  let changed = () => {}

  async function turn (): Promise<void> {
    if (playing) await new Promise<void>(resolve => { waiting.push(resolve); changed() })
  }

  return {
    turn,

    direct<T extends object> (target: T, methods: Array<keyof T & string>): void {
      for (const name of methods) {
        const method = target[name] as (...args: unknown[]) => unknown
        Object.assign(target, { [name]: (...args: unknown[]) => turn().then(() => method.apply(target, args)) })
      }
    },

    /** Resolves when all actors have ended. Their background work then goes on by itself. */
    async play (actors: Array<() => Promise<void>>, random: () => number): Promise<void> {
      playing = true
      for (const act of actors) {
        const acted: Promise<void> = act().finally(() => { acting.delete(acted); changed() })
        acting.add(acted)
      }
      while (acting.size > 0) {
        if (waiting.length < acting.size) await new Promise<void>(resolve => { changed = resolve })
        else waiting.splice(Math.floor(random() * waiting.length), 1)[0]!()
      }
      playing = false
      for (const go of waiting.splice(0)) go()
    }
  }
}
