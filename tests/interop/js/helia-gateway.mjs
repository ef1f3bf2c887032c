// Helia without a network but HTTP: it asks one trustless gateway, whose URL is its argument. Follows
// lines on standard input: {fetch: CID}; says {ready}, {fetched: sha256, bytes}, {failed}.
import { createHeliaLight } from 'helia'
import { withHTTP } from '@helia/http'
import { unixfs } from '@helia/unixfs'
import { CID } from 'multiformats/cid'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

const say = (fact) => process.stdout.write(JSON.stringify(fact) + '\n')
const helia = withHTTP(createHeliaLight({}), {
  delegatedRouters: [],
  recursiveGateways: [process.argv[2]],
  allowInsecure: true,
  allowLocal: true
})
// Its router asks the gateways named above only once another has found nobody.
helia.addRouter({
  name: 'nobody',
  capabilities: () => ['findProviders'],
  async * findProviders () {}
})
await helia.start()
const files = unixfs(helia)
say({ ready: true })

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const piece of files.cat(CID.parse(JSON.parse(line).fetch), { signal: AbortSignal.timeout(15000) })) {
      hash.update(piece)
      bytes += piece.length
    }
    say({ fetched: hash.digest('hex'), bytes })
  } catch (error) {
    say({ failed: String(error) })
  }
}
await helia.stop()
