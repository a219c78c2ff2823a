// stop and signal: what is sent to processes of hosts, by HOST/PID.

import type { Signal } from '../../protocol/index.ts'
import type { Client } from '../client/client.ts'
import type { Host } from '../client/host.ts'
import { type Io, type MeshOptions, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { type ProcessAddress, parseProcessAddress } from './process-address.ts'

/** Asks each to end; with `wait` returns when all have. */
export const stop = (
  io: Io,
  addresses: readonly string[],
  options: MeshOptions & { readonly wait?: boolean },
): Promise<number> =>
  each(io, addresses, options, async (host, { which }) => {
    await host.stop(which)
    if (options.wait === true) await host.wait(which)
  })

export const signal = (
  io: Io,
  name: Signal,
  addresses: readonly string[],
  options: MeshOptions,
): Promise<number> =>
  each(io, addresses, options, (host, { which }) => host.signal(which, name))

/** All at once: a host that is slow keeps no other waiting. */
const each = (
  io: Io,
  texts: readonly string[],
  options: MeshOptions,
  act: (host: Host, address: ProcessAddress) => Promise<void>,
): Promise<number> => {
  const addresses = texts.map(parseProcessAddress)
  return withClient(io, options, async (client: Client) => {
    const acts = addresses.map(async (address) =>
      act(await client.host(address.host), address),
    )
    const failed = (await Promise.allSettled(acts)).find(
      (one) => one.status === 'rejected',
    )
    if (failed !== undefined) throw failed.reason
    return EXIT.ok
  })
}
