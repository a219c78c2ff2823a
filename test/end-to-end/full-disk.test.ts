// A disk that is full, played by a small file system in memory: every verb about members
// says so in one line, does nothing by halves, and works again when there is room.

import { spawnSync } from 'node:child_process'
import t from 'tap'
import { begin } from './support.ts'

const canMount =
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
const skip = canMount ? false : 'file systems cannot be mounted here'
t.setTimeout(120_000)

/** Run in a place of its own: $1 a directory, $2 node, $3 the binary. */
const SCRIPT = `
mount -t tmpfs -o size=256k none "$1" && cd "$1" || exit 99
fill() { dd if=/dev/zero of=fill bs=4k 2>/dev/null; sync; }
node=$2 binary=$3
try() { echo "== $1"; shift; "$node" "$binary" "$@" --state "$PWD/state" 2>&1; echo "rc $?"; }
fill
try start --role worker --no-mdns
try join join 21gt-97nm-rpht-h1c1-v79s-x5na-6ebr-rg2n-t4hw-86mw-c485-rtp1
rm fill
try issue issue --role worker --name pi --out pi
fill
try revoke-full revoke pi
try invite-full invite --role worker --no-mdns --ttl 1ms
try issue-full issue --role worker --name po --out po
rm fill
try members members
try revoke revoke pi
`

t.test(
  'a full disk is told in one line, and nothing is half done',
  { skip },
  async (t) => {
    const place = t.testdir({})
    const args = [
      '-c',
      SCRIPT,
      'sh',
      place,
      process.execPath,
      `${process.cwd()}/dist/manyhands.js`,
    ]
    const { stdout } = await begin(t, 'unshare', '-m', 'sh', ...args).ended
    const said = new Map(
      stdout
        .toString()
        .split('== ')
        .slice(1)
        .map((part) => {
          const [name = '', ...lines] = part.trimEnd().split('\n')
          return [name, lines]
        }),
    )
    const full = /^manyhands: .*ENOSPC/
    t.match(said.get('start'), [
      /cannot make the state directory .*ENOSPC.*--state/,
      'rc 1',
    ])
    t.match(said.get('join'), [/ENOSPC.*the invitation was not used/, 'rc 1'])
    t.match(said.get('issue'), [/makes its bearer the worker pi/, 'rc 0'])
    t.match(said.get('revoke-full'), [full, 'rc 1'])
    // An invitation is nothing on disk.
    t.match(said.get('invite-full')?.slice(-2), [/has expired/, 'rc 1'])
    t.match(said.get('issue-full'), [full, 'rc 1'])
    const members = said.get('members')?.join('\n') ?? ''
    t.match(members, /pi +worker +member/)
    t.notMatch(members, /po /)
    t.match(said.get('revoke'), [/pi \(worker\) is no member/, /pi-client/, 'rc 0'])
  },
)
