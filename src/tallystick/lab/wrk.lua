-- What wrk sends: payments with ids of their own (no two alike in any thread or run), or nothing to do: to the no-op
-- route, bare or with the very bytes of a payment.
--
--   wrk … -s wrk.lua URL -- MODE KEY RUN ACCOUNTS_RUN ACCOUNTS BATCH
--
-- MODE   bare | noop | single | json | binary
-- RUN    16 hex digits: the upper half of every id of this run
-- ACCOUNTS   how many accounts there are; their ids are ACCOUNTS_RUN "0acc" NUMBER, see lab/plan.py
-- BATCH  transfers a request (json, binary)
--
-- There is no response function on purpose: with one, wrk builds a table of headers for every answer. wrk itself
-- counts answers above 399 as errors.

local ffi = require("ffi")

local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

local mode, key, run, accounts_run, accounts, batch
local counter = 0
local head, template, buffer

function init(args)
   mode, key, run, accounts_run = args[1], args[2], args[3], args[4]
   accounts, batch = tonumber(args[5]), tonumber(args[6])
   local path = mode ~= "json" and mode ~= "binary" and "/v1/transfers" or "/v1/transfers/batch"
   local content = mode == "binary" and "application/octet-stream" or "application/json"
   local target = mode == "noop" and "GET /health" or "POST " .. path
   head = target .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer " .. key ..
      "\r\nContent-Type: " .. content .. "\r\nIdempotency-Key: "
   if mode == "bare" then
      head = "GET /health HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer " .. key .. "\r\n\r\n"
   elseif mode == "json" then
      local rows = {}
      for index = 0, batch - 1 do
         rows[#rows + 1] = transfer_json("@@@@" .. string.format("%04x", index), index)
      end
      template = '{"transfers":[' .. table.concat(rows, ",") .. "]}"
   elseif mode == "binary" then
      -- TigerBeetle's Transfer, 128 bytes little-endian: 16 words of 64 bits.
      buffer = ffi.new("uint64_t[?]", batch * 16)

      for index = 0, batch - 1 do
         local at = index * 16
         buffer[at + 1] = half(run)
         buffer[at + 2], buffer[at + 3] = account(index), half(accounts_run)
         buffer[at + 4], buffer[at + 5] = account(index + 1), half(accounts_run)
         buffer[at + 6] = 1
         -- ledger (u32), code (u16), flags (u16) share the fifteenth word
         buffer[at + 14] = 978ULL + 4294967296ULL
      end
   end
end

-- 16 hex digits as a number of 64 bits.
function half(hex)
   return ffi.cast("uint64_t", tonumber(hex:sub(1, 8), 16)) * 4294967296ULL + tonumber(hex:sub(9, 16), 16)
end

function account(index)
   return 0x0acc000000000000ULL + (index % accounts) + 1
end

function account_hex(index)
   return string.format("%s0acc%012x", accounts_run, index % accounts + 1)
end

function transfer_json(id, index)
   return '{"id":"' .. id .. '","debit_account_id":"' .. account_hex(index) .. '","credit_account_id":"' ..
      account_hex(index + 1) .. '","amount":"1","ledger":978,"code":1}'
end

function request()
   if mode == "bare" then
      return head
   end
   counter = counter + 1
   local id, body
   if mode == "single" or mode == "noop" then
      id = string.format("%s%04x%012x", run, number, counter)
      body = transfer_json(id, counter)
   elseif mode == "json" then
      -- 16 digits of the run, 4 of the thread, 8 of the request, 4 of the transfer in it
      local prefix = string.format("%s%04x%08x", run, number, counter)
      id = prefix .. "ffff"
      body = template:gsub("@@@@", prefix)
   else
      id = string.format("%s%04x%08xffff", run, number, counter)
      local base = ffi.cast("uint64_t", number) * 281474976710656ULL + ffi.cast("uint64_t", counter) * 65536ULL
      for index = 0, batch - 1 do
         buffer[index * 16] = base + index
      end
      body = ffi.string(buffer, batch * 128)
   end
   return head .. id .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency, requests)
   io.write(string.format(
      '\n{"duration_us":%d,"requests":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,' ..
      '"p50_us":%d,"p95_us":%d,"p99_us":%d}\n',
      summary.duration, summary.requests, summary.errors.connect, summary.errors.read, summary.errors.write,
      summary.errors.status, summary.errors.timeout,
      latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
