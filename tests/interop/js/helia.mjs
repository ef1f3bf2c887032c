// A Helia node whose only router is Bitswap. Says {address}, then follows lines on standard input:
// {dial}, {add: base64}, {fetch: CID}; says {added}, {fetched: sha256, bytes}, {failed}.
import { createHeliaLight } from 'helia'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

const say = (fact) => process.stdout.write(JSON.stringify(fact) + '\n')
const helia = withBitswap(withLibp2pLight(createHeliaLight({}), {
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() }
}))
await helia.start()
const files = unixfs(helia)
helia.libp2p.addEventListener('peer:identify', (event) => {
  say({ identified: String(event.detail.peerId), protocols: event.detail.protocols })
})
say({ address: String(helia.libp2p.getMultiaddrs()[0]) })

for await (const line of createInterface({ input: process.stdin })) {
  const wanted = JSON.parse(line)
  try {
    if (wanted.dial) await helia.libp2p.dial(multiaddr(wanted.dial))
    if (wanted.add) {
      const added = await files.addBytes(Buffer.from(wanted.add, 'base64'))
      say({ added: String(added) })
    }
    if (wanted.fetch) {
      const hash = createHash('sha256')
      let bytes = 0
      for await (const piece of files.cat(CID.parse(wanted.fetch), { signal: AbortSignal.timeout(15000) })) {
        hash.update(piece)
        bytes += piece.length
      }
      say({ fetched: hash.digest('hex'), bytes })
    }
  } catch (error) {
    say({ failed: String(error) })
  }
}
await helia.stop()
