// Which addresses an announcement may lead to.

import t from 'tap'
import { isNear } from '../../src/mesh/near.ts'

const near =
  '10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.9 169.254.7.7 127.0.0.1 fe80::1 fd00::1 ::1'
const far =
  '8.8.8.8 172.15.0.1 172.32.0.1 192.169.0.1 100.64.0.1 203.0.113.1 2001:db8::1 ::ffff:8.8.8.8 10.0.0.1.example.org localhost 10.1 evil'

t.test('private and link-local addresses are near, everything else is not', async (t) => {
  for (const address of near.split(' ')) t.ok(isNear(address), address)
  for (const address of far.split(' ')) t.notOk(isNear(address), address)
})
