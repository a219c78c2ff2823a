// Queue: behaves as a list whatever is done to it.

import fc from 'fast-check'
import t from 'tap'
import { Queue } from '../../protocol/queue.ts'

t.test('a queue is a list that is taken from at the front', async (t) => {
  const act = fc.oneof(
    { weight: 5, arbitrary: fc.constant('push') },
    { weight: 4, arbitrary: fc.constant('shift') },
    { weight: 1, arbitrary: fc.constant('take') },
  )
  fc.assert(
    fc.property(fc.array(act, { maxLength: 500, size: 'max' }), (acts) => {
      const queue = new Queue<number>()
      let list: number[] = []
      acts.forEach((what, index) => {
        const isOdd = (item: number) => item % 2 === 1
        if (what === 'push') {
          queue.push(index)
          list.push(index)
        } else if (what === 'shift') {
          if (queue.peek() !== list[0]) throw new Error('peek')
          if (queue.shift() !== list.shift()) throw new Error('shift')
        } else {
          if (`${queue.take(isOdd)}` !== `${list.filter(isOdd)}`) throw new Error('take')
          list = list.filter((item) => !isOdd(item))
        }
      })
      return `${[...queue]}` === `${list}` && queue.length === list.length
    }),
  )
  t.pass()
})
