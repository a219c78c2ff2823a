// The faults that a load can be struck by, in words. (Apart from the rest, for a command
// line that only shows its help.)

export const FAULTS = {
  crash: 'the process of a worker dies, and is back after 5 s',
  power: 'the machine of a worker loses power, and is back after 60 s',
  freeze: 'the process of a worker stands still for 30 s',
  cut: 'the connection of a worker breaks',
  partition: 'a tenth of the workers cannot be reached for 30 s',
  slow: 'what goes to a worker takes 100 times as long for 30 s',
  disk: 'the disk of a worker is full for 30 s',
  manager: 'once, the process of a manager dies, and is back after 2 s with its ledger',
} as const
export type FaultName = keyof typeof FAULTS
