# The records of the matrix as lines, for clients that are driven by the shell. All go to one partition, in order.
#   -v form=kcat -v quarter=Q          what kcat reads: KEY:VALUE, no colon where the key is null
#   -v form=kcat-read                  what kcat prints of all four quarters: see kcat/run
#   -v form=console, form=console-read what the console producer reads and the console consumer prints; @ is null
# kcat takes headers, and whether empty means null, for a whole run: each quarter has its own.

BEGIN {
    records = 10000; large = 900 * 1024; size = 1024 * 1024; null = "@"
    state = 1
    for (row = 0; row < 1024; row++) {
        line = ""
        for (column = 0; column < 1024; column++) {
            state = state * 16807 % 2147483647
            line = line sprintf("%c", 97 + state % 16)
        }
        rows[row] = line
    }
    # Joined in pairs: one by one would copy a megabyte a thousand times.
    for (count = 1024; count > 1; count /= 2)
        for (row = 0; row < count / 2; row++) rows[row] = rows[2 * row] rows[2 * row + 1]
    text = rows[0]

    for (i = 0; i < records; i++) {
        key = i % 7 == 0 ? null : i % 7 == 1 ? "" : "key-" i
        length_ = i % 500 == 250 ? large : 20 + i * 37 % 980
        value = substr(text, i * 7919 % (size - length_) + 1, length_)
        if (length_ != large && i % 11 < 2) value = i % 11 == 0 ? null : ""
        if (form ~ /^kcat/) kcat(i, key, value)
        else console(i, key, value)
    }
}

function kcat(i, key, value,    mine, nulls) {
    mine = int(i * 4 / records)
    nulls = mine % 2
    # kcat sees null in what is empty, in quarters with -Z; it skips a line without any byte.
    if (value == null) value = ""
    if (key == null && value == "") value = "some"
    if (form == "kcat") {
        if (mine == quarter) print (key == null ? "" : key ":") value
        return
    }
    printf "0 %d ", i
    if (key == "" && nulls) key = null
    if (key == null) show(-1, "")
    else show(length(key), key)
    if (value == "" && nulls) show(-1, "")
    else show(length(value), value)
    print (mine >= 2 ? "repeated=first,repeated=second,empty=,null=NULL" : "")
}

# Not by printf: its buffer is smaller than a large record.
function show(size_, bytes) {
    ORS = " "
    print size_ " " bytes
    ORS = "\n"
}

function console(i, key, value,    headers) {
    headers = "n:" i ",repeated:first,repeated:second-" i ",empty:,null:" null
    if (form == "console") headers = i % 5 == 0 ? null : headers
    else headers = "Partition:0\tOffset:" i "\t" (i % 5 == 0 ? "NO_HEADERS" : headers)
    print headers "\t" key "\t" value
}
