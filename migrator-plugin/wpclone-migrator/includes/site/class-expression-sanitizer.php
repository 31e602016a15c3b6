<?php
/**
 * Parses expressions of a definition and rebuilds them from columns, literals, and an allowlist of keywords, operators and
 * functions without side effects.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

final class Expression_Sanitizer {
	const MAX_BYTES = 16384;

	const WORDS = 'and or xor not is null true false unknown in between like rlike regexp escape case when then else end div mod
		binary as signed unsigned integer int decimal char nchar date datetime time year double float interval microsecond second
		minute hour day week month quarter day_hour day_minute day_second hour_minute hour_second minute_second year_month
		current_timestamp current_date current_time localtime localtimestamp both leading trailing from array character';

	/** Keywords followed by the name of a charset or collation. */
	const CHARSET_KEYWORDS = 'using charset set collate';

	const FUNCTIONS = 'abs acos adddate addtime ascii asin atan atan2 avg bin bin_to_uuid bit_count bit_length cast ceil ceiling char
		char_length character_length chr coalesce coercibility collation concat concat_ws conv convert convert_tz cos cot crc32 crc32c
		curdate curtime current_date current_time current_timestamp date date_add date_format date_sub datediff day dayname
		dayofmonth dayofweek dayofyear degrees elt exp extract field find_in_set floor format format_bytes from_base64 from_days from_unixtime
		greatest hex hour if ifnull inet_aton inet_ntoa inet6_aton inet6_ntoa insert instr is_ipv4 is_ipv6 is_uuid isnull
		json_array json_array_append json_array_insert json_arrayagg json_compact json_contains json_contains_path json_depth json_detailed
		json_equals json_exists json_extract json_insert json_keys json_length json_loose json_merge json_merge_patch
		json_merge_preserve json_normalize json_object json_overlaps json_pretty json_query json_quote json_remove json_replace
		json_schema_valid json_search json_set json_storage_size json_type json_unquote json_valid json_value
		last_day lcase least left length ln localtime localtimestamp locate log log10 log2 lower lpad ltrim make_set makedate maketime
		md5 microsecond mid minute mod month monthname natural_sort_key now nullif nvl nvl2 oct octet_length ord period_add period_diff
		pi position pow power quarter quote radians rand regexp_instr regexp_like regexp_replace regexp_substr repeat replace reverse
		right round rpad rtrim sec_to_time second sformat sha sha1 sha2 sign sin soundex space sqrt st_area st_asbinary st_asgeojson
		st_asjson st_astext st_buffer st_centroid st_contains st_dimension st_distance st_distance_sphere st_endpoint st_envelope
		st_equals st_geomfromgeojson st_geomfromtext st_geomfromwkb st_geometrytype st_intersects st_isclosed st_isempty
		st_isvalid st_latitude st_length st_longitude st_numpoints st_pointfromtext st_pointn st_srid st_startpoint st_within st_x st_y
		str_to_date strcmp subdate substr substring substring_index subtime tan time time_format time_to_sec timediff timestamp
		timestampadd timestampdiff to_base64 to_char to_days to_seconds trim truncate ucase unhex unix_timestamp upper utc_date
		utc_time utc_timestamp uuid uuid_short uuid_to_bin uuid_v4 uuid_v7 week weekday weekofyear year yearweek
		linestring multilinestring multipoint multipolygon point polygon in and or xor not div between like interval when then else
		case is as decimal array values_';

	const TOKEN = '/\G(?:
		(?<space>[ \t\r\n]+)
		|(?<text>(?:_(?<charset>[a-z0-9]{2,16})[ ]*)?\'(?<inside>(?:[^\'\\\\]++|\\\\.|\'\')*+)\')
		|(?<hex>(?:_(?<hexset>[a-z0-9]{2,16})[ ]*)?(?:0x(?<digits>(?:[0-9a-f]{2})*+)(?![0-9a-z_])|x\'(?<xdigits>(?:[0-9a-f]{2})*+)\'))
		|(?<bits>b\'[01]{0,64}\')
		|(?<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?(?![0-9a-z_$.\x80-\xff]))
		|`(?<name>(?:[^`]|``)++)`
		|(?<word>[a-z_$\x80-\xff][0-9a-z_$\x80-\xff]*+)
		|(?<sign><=>|->>|->|<=|>=|<>|!=|<<|>>|&&|\|\||[-+*\/%(),<>=&|^~!])
	)/xsi';

	/** @var Database */
	private $db;

	/** @var array<string, Column names in lower case => as they are written. */
	private $columns = array();

	/** @param string[] $columns */
	public function __construct( Database $db, array $columns ) {
		$this->db = $db;
		foreach ( $columns as $column ) {
			$this->columns[ strtolower( $column ) ] = $column;
		}
	}

	/** The expression as it may be used in a statement, or null. */
	public function sanitize( string $text ): ?string {
		if ( strlen( $text ) > self::MAX_BYTES || 1 !== preg_match( '//u', $text ) ) {
			return null;
		}
		$parts         = array();
		$depth         = 0;
		$previous_word = '';
		$at            = 0;
		$size          = strlen( $text );
		while ( $at < $size ) {
			if ( 1 !== preg_match( self::TOKEN, $text, $token, PREG_UNMATCHED_AS_NULL, $at ) ) {
				return null;
			}
			$at += strlen( $token[0] );
			if ( null !== $token['space'] ) {
				continue;
			}
			$before_parenthesis = 1 === preg_match( '/\G[ \t\r\n]*\(/', $text, $bracket, 0, $at );
			$part               = $this->sanitize_token( $token, $previous_word, $before_parenthesis );
			if ( null === $part ) {
				return null;
			}
			$depth += '(' === $part ? 1 : ( ')' === $part ? -1 : 0 );
			// The expression must not close the parentheses that surround it, or add a second one beside it.
			if ( $depth < 0 || ( 0 === $depth && ',' === $part ) ) {
				return null;
			}
			$is_call       = '(' === $part && '' !== $previous_word && in_array( $previous_word, self::words( 'FUNCTIONS' ), true );
			$parts[]       = ( $is_call || ! $parts ? '' : ' ' ) . $part;
			$previous_word = null !== $token['word'] ? strtolower( $token['word'] ) : '';
		}
		return 0 === $depth && $parts ? implode( '', $parts ) : null;
	}

	private function sanitize_token( array $token, string $previous_word, bool $before_parenthesis ): ?string {
		if ( null !== $token['word'] && in_array( $previous_word, self::words( 'CHARSET_KEYWORDS' ), true ) ) {
			return $this->charset_or_collation( strtolower( $token['word'] ), 'collate' === $previous_word );
		}
		if ( null !== $token['word'] ) {
			return $this->word( $token['word'], $before_parenthesis );
		}
		if ( null !== $token['name'] ) {
			return $this->column( str_replace( '``', '`', $token['name'] ) );
		}
		if ( null !== $token['text'] ) {
			return $this->introducer( $token['charset'] ) . $this->db->quote( Column_Reader::unescape_literal( $token['inside'] ) );
		}
		if ( null !== $token['hex'] ) {
			return $this->introducer( $token['hexset'] ) . "x'" . ( $token['digits'] ?? $token['xdigits'] ) . "'";
		}
		return $token['bits'] ?? $token['number'] ?? $token['sign'];
	}

	private function word( string $word, bool $before_parenthesis ): ?string {
		$lower = strtolower( $word );
		if ( in_array( $lower, self::words( $before_parenthesis ? 'FUNCTIONS' : 'WORDS' ), true ) || in_array( $lower, self::words( 'WORDS' ), true ) || in_array( $lower, self::words( 'CHARSET_KEYWORDS' ), true ) ) {
			return $lower;
		}
		return $before_parenthesis ? null : $this->column( $word );
	}

	private function column( string $name ): ?string {
		$known = $this->columns[ strtolower( $name ) ] ?? null;
		return null === $known ? null : Database::identifier( $known );
	}

	private function charset_or_collation( string $name, bool $is_collation ): ?string {
		if ( $is_collation ) {
			return Charset_Mapper::collation( $this->db, $name, explode( '_', $name )[0] );
		}
		return Charset_Mapper::charset( $this->db, $name );
	}

	/** The charset introducer of a literal. Without one it is UTF-8, as the whole definition. */
	private function introducer( ?string $charset ): string {
		$known = null === $charset ? '' : Charset_Mapper::charset( $this->db, strtolower( $charset ) );
		return '' === (string) $known ? '' : "_$known ";
	}

	/** @return string[] */
	private static function words( string $list ): array {
		static $known = array();
		if ( ! isset( $known[ $list ] ) ) {
			$known[ $list ] = preg_split( '/\s+/', constant( "self::$list" ) );
		}
		return $known[ $list ];
	}
}
